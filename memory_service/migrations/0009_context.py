"""What a session's stable context already shows: see models/context.py."""

import django.contrib.postgres.fields
import django.db.models.deletion
import django.utils.timezone
import memory_service.models.context
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('memory_service', '0008_evaluation'),
    ]

    operations = [
        migrations.CreateModel(
            name='ContextLedger',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('key_hash', models.CharField(max_length=64)),
                ('shape', models.CharField(blank=True, default='', max_length=64)),
                ('epoch', models.IntegerField(default=0)),
                ('entries', models.JSONField(default=list)),
                ('scope_ids', django.contrib.postgres.fields.ArrayField(base_field=models.BigIntegerField(), default=list, size=None)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('expires_at', models.DateTimeField(default=memory_service.models.context.in_some_days)),
                ('project', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='context_ledgers', to='memory_service.project')),
            ],
            options={
                'indexes': [models.Index(fields=['expires_at'], name='context_ledger_expiry')],
                'constraints': [models.UniqueConstraint(fields=('project', 'key_hash'), name='context_ledger_unique'), models.CheckConstraint(condition=models.Q(('key_hash__regex', '^[0-9a-f]{64}$')), name='context_ledger_key_hashed')],
            },
        ),
    ]

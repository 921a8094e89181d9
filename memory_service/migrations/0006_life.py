"""The life of a memory: recalls, summaries of sessions, profiles, budgets; for whom a model was asked."""

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('memory_service', '0005_graph'),
    ]

    operations = [
        migrations.CreateModel(
            name='Budget',
            fields=[
                ('project', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='budget', serialize=False, to='memory_service.project')),
                ('daily_usd', models.DecimalField(decimal_places=6, max_digits=14, null=True)),
                ('monthly_usd', models.DecimalField(decimal_places=6, max_digits=14, null=True)),
                ('daily_tokens', models.BigIntegerField(null=True)),
                ('monthly_tokens', models.BigIntegerField(null=True)),
                ('prices', models.JSONField(default=dict)),
                ('alarmed', models.JSONField(default=dict)),
            ],
        ),
        migrations.CreateModel(
            name='IdempotencyKey',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('key', models.CharField(max_length=255)),
                ('request_hash', models.CharField(max_length=64)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
            ],
        ),
        migrations.CreateModel(
            name='LifecycleSettings',
            fields=[
                ('project', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='lifecycle', serialize=False, to='memory_service.project')),
                ('decay_half_life_days', models.FloatField(null=True)),
                ('categories', models.JSONField(default=list)),
                ('profiles_enabled', models.BooleanField(default=False)),
                ('profile_schema', models.JSONField(null=True)),
                ('profile_instructions', models.TextField(null=True)),
            ],
        ),
        migrations.CreateModel(
            name='MemoryRecall',
            fields=[
                ('memory', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='recall', serialize=False, to='memory_service.memory')),
                ('num_recalls', models.BigIntegerField(default=0)),
                ('last_recalled_at', models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name='Profile',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('user_id', models.CharField(max_length=255)),
                ('profile', models.JSONField(null=True)),
                ('generation_count', models.IntegerField(default=0)),
                ('num_facts', models.IntegerField(default=0)),
                ('method', models.CharField(blank=True, default='', max_length=10)),
                ('notes', models.JSONField(default=list)),
                ('error', models.TextField(blank=True, default='')),
                ('generated_at', models.DateTimeField(null=True)),
                ('retry_at', models.DateTimeField(null=True)),
            ],
        ),
        migrations.CreateModel(
            name='SummaryNode',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('workflow', models.CharField(choices=[('hierarchical', 'Hierarchical'), ('incremental', 'Incremental')], max_length=12)),
                ('level', models.IntegerField()),
                ('index', models.IntegerField()),
                ('first_seq', models.IntegerField()),
                ('last_seq', models.IntegerField()),
                ('text', models.TextField()),
                ('source_words', models.IntegerField()),
                ('asked_words', models.IntegerField()),
                ('num_words', models.IntegerField()),
                ('num_tokens', models.IntegerField()),
                ('num_tries', models.IntegerField(default=1)),
                ('method', models.CharField(choices=[('llm', 'Llm'), ('extractive', 'Extractive')], max_length=10)),
                ('model', models.CharField(blank=True, default='', max_length=200)),
                ('children_hash', models.CharField(max_length=64)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
            ],
        ),
        migrations.AddField(
            model_name='completionusage',
            name='scope',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='usage', to='memory_service.scope'),
        ),
        migrations.AddField(
            model_name='completionusage',
            name='user_id',
            field=models.CharField(max_length=255, null=True),
        ),
        migrations.AlterField(
            model_name='event',
            name='type',
            field=models.CharField(choices=[('ADD', 'Add'), ('DELETE', 'Delete'), ('CATEGORIZE', 'Categorize'), ('PROFILE', 'Profile'), ('SUMMARY', 'Summary')], max_length=10),
        ),
        migrations.AlterField(
            model_name='memoryrevision',
            name='operation',
            field=models.CharField(choices=[('ADD', 'Add'), ('UPDATE', 'Update'), ('DELETE', 'Delete'), ('CATEGORIZE', 'Categorize')], max_length=10),
        ),
        migrations.AddIndex(
            model_name='memory',
            index=models.Index(condition=models.Q(('feedback__isnull', False), ('state', 'live')), fields=['scope'], include=('feedback',), name='memory_feedback'),
        ),
        migrations.AddConstraint(
            model_name='budget',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('daily_usd__isnull', True), ('daily_usd__gte', 0), _connector='OR'), models.Q(('monthly_usd__isnull', True), ('monthly_usd__gte', 0), _connector='OR'), models.Q(('daily_tokens__isnull', True), ('daily_tokens__gte', 0), _connector='OR'), models.Q(('monthly_tokens__isnull', True), ('monthly_tokens__gte', 0), _connector='OR')), name='budget_not_negative'),
        ),
        migrations.AddField(
            model_name='idempotencykey',
            name='event',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='idempotency_keys', to='memory_service.event'),
        ),
        migrations.AddField(
            model_name='idempotencykey',
            name='project',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='memory_service.project'),
        ),
        migrations.AddConstraint(
            model_name='lifecyclesettings',
            constraint=models.CheckConstraint(condition=models.Q(('decay_half_life_days__isnull', True), ('decay_half_life_days__gt', 0), _connector='OR'), name='lifecycle_half_life_positive'),
        ),
        migrations.AddField(
            model_name='profile',
            name='project',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='profiles', to='memory_service.project'),
        ),
        migrations.AddField(
            model_name='summarynode',
            name='session',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='summary_nodes', to='memory_service.session'),
        ),
        migrations.AddConstraint(
            model_name='idempotencykey',
            constraint=models.UniqueConstraint(fields=('project', 'key'), name='idempotency_key_unique'),
        ),
        migrations.AddConstraint(
            model_name='profile',
            constraint=models.UniqueConstraint(fields=('project', 'user_id'), name='profile_user_unique'),
        ),
        migrations.AddConstraint(
            model_name='summarynode',
            constraint=models.UniqueConstraint(fields=('session', 'workflow', 'level', 'index'), name='summary_node_unique'),
        ),
        migrations.AddConstraint(
            model_name='summarynode',
            constraint=models.CheckConstraint(condition=models.Q(('last_seq__gte', models.F('first_seq'))), name='summary_node_range_ordered'),
        ),
        migrations.AddConstraint(
            model_name='summarynode',
            constraint=models.CheckConstraint(condition=models.Q(('asked_words__gt', 0)), name='summary_node_asks_for_words'),
        ),
    ]

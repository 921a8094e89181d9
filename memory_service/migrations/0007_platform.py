"""Organisations by API, webhooks with their outbox, exports and imports.

The outbox is written by triggers, in the transaction of whoever writes a revision: no stage needs to know of it.
"""

import django.contrib.postgres.fields
import django.db.models.deletion
import django.utils.timezone
import memory_service.models.platform
import uuid
from django.conf import settings
from django.db import migrations, models


OUTBOX = """
CREATE FUNCTION memory_service_tell_revisions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM memory_service_webhook WHERE is_active) THEN
        RETURN NULL;
    END IF;
    INSERT INTO memory_service_webhookdelivery
        (public_id, webhook_id, revision_id, memory_public_id, event_type, due_at, created_at)
    SELECT gen_random_uuid(), w.id, r.id, m.public_id, t.event_type, now(), now()
    FROM fresh r
    JOIN memory_service_memory m ON m.id = r.memory_id
    JOIN memory_service_webhook w ON w.project_id = m.project_id AND w.is_active
    CROSS JOIN LATERAL (
        SELECT 'memory_' || lower(r.operation) AS event_type
        UNION ALL
        SELECT 'memory_categorize' WHERE r.operation NOT IN ('DELETE', 'CATEGORIZE') AND r.categories <> '{}' AND r.categories IS DISTINCT FROM (
            SELECT p.categories FROM memory_service_memoryrevision p
            WHERE p.memory_id = r.memory_id AND p.id < r.id ORDER BY p.id DESC LIMIT 1
        )
    ) t
    WHERE t.event_type = ANY (w.event_types) AND r.policy <> 'import'
    ORDER BY r.id;
    RETURN NULL;
END $$;
CREATE FUNCTION memory_service_tell_forgotten() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO memory_service_webhookdelivery
        (public_id, webhook_id, memory_public_id, event_type, forgotten, due_at, created_at)
    SELECT gen_random_uuid(), w.id, m.public_id, 'memory_delete', true, now(), now()
    FROM gone m
    JOIN memory_service_webhook w ON w.project_id = m.project_id AND w.is_active
    WHERE m.state = 'live' AND 'memory_delete' = ANY (w.event_types);
    RETURN NULL;
END $$;
CREATE TRIGGER revision_told AFTER INSERT ON memory_service_memoryrevision
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION memory_service_tell_revisions();
CREATE TRIGGER memory_forgotten AFTER DELETE ON memory_service_memory
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION memory_service_tell_forgotten();
ALTER TABLE memory_service_webhookdelivery ADD CONSTRAINT webhook_delivery_revision
    FOREIGN KEY (revision_id) REFERENCES memory_service_memoryrevision (id) ON DELETE SET NULL;
"""
DROP = """
ALTER TABLE memory_service_webhookdelivery DROP CONSTRAINT webhook_delivery_revision;
DROP FUNCTION memory_service_tell_revisions() CASCADE;
DROP FUNCTION memory_service_tell_forgotten() CASCADE;
"""

# Whoever owns a project owned all there was to own.
PEOPLE = """
INSERT INTO memory_service_organisationmembership (organisation_id, user_id, role)
SELECT p.organisation_id, m.user_id, CASE WHEN bool_or(m.role = 'owner') THEN 'owner' ELSE 'viewer' END
FROM memory_service_membership m JOIN memory_service_project p ON p.id = m.project_id
GROUP BY p.organisation_id, m.user_id
"""

# The first key of an organisation is the one that `manage.py bootstrap` made.
OWNERS = """
UPDATE memory_service_apikey SET role = 'owner' WHERE id IN (
    SELECT min(k.id) FROM memory_service_apikey k JOIN memory_service_project p ON p.id = k.project_id
    GROUP BY p.organisation_id
)
"""


class Migration(migrations.Migration):

    dependencies = [
        ('memory_service', '0006_life'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='EntityRecord',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('type', models.CharField(max_length=5)),
                ('name', models.CharField(max_length=255)),
                ('metadata', models.JSONField(default=dict)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('updated_at', models.DateTimeField(default=django.utils.timezone.now)),
            ],
        ),
        migrations.CreateModel(
            name='ImportJob',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('public_id', models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ('source', models.CharField(blank=True, default='', max_length=255)),
                ('defaults', models.JSONField(default=dict)),
                ('status', models.CharField(choices=[('PENDING', 'Pending'), ('RUNNING', 'Running'), ('SUCCEEDED', 'Succeeded'), ('FAILED', 'Failed')], default='PENDING', max_length=10)),
                ('num_lines', models.IntegerField(default=0)),
                ('num_attempts', models.IntegerField(default=0)),
                ('error', models.TextField(blank=True, default='')),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('updated_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('completed_at', models.DateTimeField(null=True)),
                ('expires_at', models.DateTimeField(default=memory_service.models.platform.in_a_while)),
            ],
        ),
        migrations.CreateModel(
            name='ImportLine',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.IntegerField()),
                ('repeat', models.IntegerField(default=0)),
                ('content', models.JSONField(null=True)),
                ('status', models.CharField(choices=[('pending', 'Pending'), ('done', 'Done'), ('known', 'Known'), ('failed', 'Failed')], default='pending', max_length=10)),
                ('error', models.TextField(blank=True, default='')),
                ('memory_public_id', models.UUIDField(null=True)),
                ('event_public_id', models.UUIDField(null=True)),
                ('replaced_by', models.CharField(blank=True, default='', max_length=255)),
            ],
        ),
        migrations.CreateModel(
            name='MemoryExport',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('public_id', models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ('schema', models.JSONField()),
                ('filters', models.JSONField()),
                ('instructions', models.TextField(blank=True, default='')),
                ('status', models.CharField(choices=[('PENDING', 'Pending'), ('RUNNING', 'Running'), ('SUCCEEDED', 'Succeeded'), ('FAILED', 'Failed')], default='PENDING', max_length=10)),
                ('data', models.JSONField(null=True)),
                ('sources', models.JSONField(default=dict)),
                ('notes', models.JSONField(default=list)),
                ('scope_ids', django.contrib.postgres.fields.ArrayField(base_field=models.BigIntegerField(), default=list, size=None)),
                ('num_memories', models.IntegerField(null=True)),
                ('num_attempts', models.IntegerField(default=0)),
                ('error', models.TextField(blank=True, default='')),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('updated_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('completed_at', models.DateTimeField(null=True)),
                ('expires_at', models.DateTimeField(default=memory_service.models.platform.in_a_while)),
            ],
        ),
        migrations.CreateModel(
            name='OrganisationMembership',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('role', models.CharField(choices=[('owner', 'Owner'), ('member', 'Member'), ('viewer', 'Viewer')], default='viewer', max_length=10)),
            ],
        ),
        migrations.CreateModel(
            name='ProjectDeletion',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('public_id', models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ('project_public_id', models.UUIDField()),
                ('project_name', models.CharField(max_length=200)),
                ('with_organisation', models.BooleanField(default=False)),
                ('status', models.CharField(choices=[('PENDING', 'Pending'), ('RUNNING', 'Running'), ('SUCCEEDED', 'Succeeded'), ('FAILED', 'Failed')], default='PENDING', max_length=10)),
                ('deleted', models.JSONField(default=dict)),
                ('error', models.TextField(blank=True, default='')),
                ('num_attempts', models.IntegerField(default=0)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('updated_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('completed_at', models.DateTimeField(null=True)),
            ],
        ),
        migrations.CreateModel(
            name='Webhook',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('public_id', models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ('name', models.CharField(max_length=200)),
                ('url', models.CharField(max_length=2000)),
                ('event_types', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=30), size=None)),
                ('is_active', models.BooleanField(default=True)),
                ('disabled_reason', models.TextField(blank=True, default='')),
                ('secret', models.CharField(default=memory_service.models.platform.make_secret, max_length=100)),
                ('previous_secret', models.CharField(blank=True, default='', max_length=100)),
                ('previous_secret_until', models.DateTimeField(null=True)),
                ('num_failures', models.IntegerField(default=0)),
                ('paused_until', models.DateTimeField(null=True)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('updated_at', models.DateTimeField(default=django.utils.timezone.now)),
            ],
        ),
        migrations.CreateModel(
            name='WebhookDelivery',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('public_id', models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ('memory_public_id', models.UUIDField()),
                ('event_type', models.CharField(choices=[('memory_add', 'Add'), ('memory_update', 'Update'), ('memory_delete', 'Delete'), ('memory_categorize', 'Categorize')], max_length=30)),
                ('forgotten', models.BooleanField(db_default=False, default=False)),
                ('status', models.CharField(choices=[('pending', 'Pending'), ('sending', 'Sending'), ('delivered', 'Delivered'), ('dead', 'Dead')], db_default='pending', default='pending', max_length=10)),
                ('num_attempts', models.IntegerField(db_default=0, default=0)),
                ('due_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('claimed_at', models.DateTimeField(null=True)),
                ('response_code', models.IntegerField(null=True)),
                ('latency_ms', models.FloatField(null=True)),
                ('error', models.TextField(blank=True, db_default='', default='')),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('delivered_at', models.DateTimeField(null=True)),
            ],
        ),
        migrations.AddField(
            model_name='apikey',
            name='role',
            field=models.CharField(choices=[('owner', 'Owner'), ('member', 'Member')], default='member', max_length=10),
        ),
        migrations.AddField(
            model_name='project',
            name='deleted_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='project',
            name='description',
            field=models.TextField(blank=True, default=''),
        ),
        migrations.AddField(
            model_name='project',
            name='settings',
            field=models.JSONField(blank=True, default=dict),
        ),
        migrations.AddField(
            model_name='project',
            name='updated_at',
            field=models.DateTimeField(default=django.utils.timezone.now),
        ),
        migrations.AddConstraint(
            model_name='apikey',
            constraint=models.CheckConstraint(condition=models.Q(('role__in', ['owner', 'member'])), name='key_role_known'),
        ),
        migrations.AddField(
            model_name='entityrecord',
            name='project',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='entity_records', to='memory_service.project'),
        ),
        migrations.AddField(
            model_name='importjob',
            name='project',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='imports', to='memory_service.project'),
        ),
        migrations.AddField(
            model_name='importline',
            name='job',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='lines', to='memory_service.importjob'),
        ),
        migrations.AddField(
            model_name='memoryexport',
            name='project',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='exports', to='memory_service.project'),
        ),
        migrations.AddField(
            model_name='organisationmembership',
            name='organisation',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='memberships', to='memory_service.organisation'),
        ),
        migrations.AddField(
            model_name='organisationmembership',
            name='user',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='organisation_memberships', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='projectdeletion',
            name='organisation',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='project_deletions', to='memory_service.organisation'),
        ),
        migrations.AddField(
            model_name='projectdeletion',
            name='project',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='deletions', to='memory_service.project'),
        ),
        migrations.AddField(
            model_name='webhook',
            name='project',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='webhooks', to='memory_service.project'),
        ),
        migrations.AddField(
            model_name='webhookdelivery',
            name='revision',
            field=models.ForeignKey(db_constraint=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='deliveries', to='memory_service.memoryrevision'),
        ),
        migrations.AddField(
            model_name='webhookdelivery',
            name='webhook',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='deliveries', to='memory_service.webhook'),
        ),
        migrations.AddConstraint(
            model_name='entityrecord',
            constraint=models.UniqueConstraint(fields=('project', 'type', 'name'), name='entity_record_unique'),
        ),
        migrations.AddConstraint(
            model_name='entityrecord',
            constraint=models.CheckConstraint(condition=models.Q(('type__in', ['user', 'agent', 'app', 'run'])), name='entity_record_type_known'),
        ),
        migrations.AddIndex(
            model_name='importjob',
            index=models.Index(fields=['project', '-id'], name='import_project'),
        ),
        migrations.AddConstraint(
            model_name='importjob',
            constraint=models.CheckConstraint(condition=models.Q(('status__in', ['PENDING', 'RUNNING', 'SUCCEEDED', 'FAILED'])), name='import_status_known'),
        ),
        migrations.AddIndex(
            model_name='importline',
            index=models.Index(condition=models.Q(('status', 'pending')), fields=['job', 'number'], name='import_line_waiting'),
        ),
        migrations.AddConstraint(
            model_name='importline',
            constraint=models.UniqueConstraint(fields=('job', 'number'), name='import_line_unique'),
        ),
        migrations.AddConstraint(
            model_name='importline',
            constraint=models.CheckConstraint(condition=models.Q(('status__in', ['pending', 'done', 'known', 'failed'])), name='import_line_status_known'),
        ),
        migrations.AddIndex(
            model_name='memoryexport',
            index=models.Index(fields=['project', '-id'], name='export_project'),
        ),
        migrations.AddIndex(
            model_name='memoryexport',
            index=models.Index(fields=['expires_at'], name='export_expiry'),
        ),
        migrations.AddConstraint(
            model_name='memoryexport',
            constraint=models.CheckConstraint(condition=models.Q(('status__in', ['PENDING', 'RUNNING', 'SUCCEEDED', 'FAILED'])), name='export_status_known'),
        ),
        migrations.AddConstraint(
            model_name='organisationmembership',
            constraint=models.UniqueConstraint(fields=('organisation', 'user'), name='organisation_membership_unique'),
        ),
        migrations.AddConstraint(
            model_name='organisationmembership',
            constraint=models.CheckConstraint(condition=models.Q(('role__in', ['owner', 'member', 'viewer'])), name='organisation_membership_role_known'),
        ),
        migrations.AddConstraint(
            model_name='projectdeletion',
            constraint=models.CheckConstraint(condition=models.Q(('status__in', ['PENDING', 'RUNNING', 'SUCCEEDED', 'FAILED'])), name='project_deletion_status_known'),
        ),
        migrations.AddConstraint(
            model_name='webhook',
            constraint=models.CheckConstraint(condition=models.Q(('event_types__len__gt', 0), ('event_types__contained_by', ['memory_add', 'memory_update', 'memory_delete', 'memory_categorize'])), name='webhook_event_types_known'),
        ),
        migrations.AddIndex(
            model_name='webhookdelivery',
            index=models.Index(condition=models.Q(('status__in', ['pending', 'sending'])), fields=['due_at'], name='webhook_delivery_due'),
        ),
        migrations.AddIndex(
            model_name='webhookdelivery',
            index=models.Index(fields=['webhook', '-id'], name='webhook_delivery_log'),
        ),
        migrations.AddConstraint(
            model_name='webhookdelivery',
            constraint=models.UniqueConstraint(fields=('webhook', 'revision', 'event_type'), name='webhook_delivery_unique'),
        ),
        migrations.AddConstraint(
            model_name='webhookdelivery',
            constraint=models.CheckConstraint(condition=models.Q(('status__in', ['pending', 'sending', 'delivered', 'dead'])), name='webhook_delivery_status_known'),
        ),
        migrations.RunSQL(OUTBOX, DROP),
        migrations.RunSQL(PEOPLE, migrations.RunSQL.noop),
        migrations.RunSQL(OWNERS, migrations.RunSQL.noop),
    ]

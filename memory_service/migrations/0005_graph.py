"""The knowledge graph: relations between entities, their other names, merges, and a version for each scope's graph."""

import django.db.models.deletion
import django.utils.timezone
import pgvector.django.vector
import uuid
from django.contrib.postgres.functions import RandomUUID
from django.db import migrations, models

# Rows that are destroyed cannot be found by reading the newer ones: who keeps the graph has to read it anew.
TRIGGERS = """
CREATE FUNCTION memory_service_note_destruction() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE memory_service_graphstate SET version = version + 1, rebuilt_at = version + 1
    WHERE scope_id IN (SELECT DISTINCT scope_id FROM destroyed);
    RETURN NULL;
END $$;
CREATE TRIGGER entity_destroyed AFTER DELETE ON memory_service_entity
REFERENCING OLD TABLE AS destroyed FOR EACH STATEMENT EXECUTE FUNCTION memory_service_note_destruction();
CREATE TRIGGER relation_destroyed AFTER DELETE ON memory_service_relation
REFERENCING OLD TABLE AS destroyed FOR EACH STATEMENT EXECUTE FUNCTION memory_service_note_destruction();
"""
DROP_TRIGGERS = "DROP FUNCTION memory_service_note_destruction() CASCADE"

# What is known already of the entities that are there.
COUNT_MENTIONS = """
UPDATE memory_service_entity e SET num_mentions = m.number, last_mentioned_at = m.last
FROM (SELECT l.entity_id, count(*) AS number, max(r.said_at) AS last FROM memory_service_memoryentity l
      JOIN memory_service_memory r ON r.id = l.memory_id GROUP BY l.entity_id) m
WHERE m.entity_id = e.id
"""


class Migration(migrations.Migration):

    dependencies = [
        ('memory_service', '0004_forgetting'),
    ]

    operations = [
        migrations.CreateModel(
            name='EntityAlias',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=255)),
                ('normal_name', models.CharField(max_length=255)),
                ('source', models.CharField(max_length=20)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
            ],
        ),
        migrations.CreateModel(
            name='EntityEmbedding',
            fields=[
                ('entity', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='embedding', serialize=False, to='memory_service.entity')),
                ('vector', pgvector.django.vector.VectorField()),
            ],
        ),
        migrations.CreateModel(
            name='EntityMerge',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('public_id', models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ('reason', models.TextField(blank=True, default='')),
                ('similarity', models.FloatField(null=True)),
                ('moved', models.JSONField(default=dict)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('undone_at', models.DateTimeField(null=True)),
            ],
        ),
        migrations.CreateModel(
            name='GraphState',
            fields=[
                ('scope', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='graph_state', serialize=False, to='memory_service.scope')),
                ('version', models.BigIntegerField(default=0)),
                ('rebuilt_at', models.BigIntegerField(default=0)),
            ],
        ),
        migrations.CreateModel(
            name='Relation',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('public_id', models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ('type', models.CharField(max_length=64)),
                ('text', models.TextField()),
                ('origin', models.CharField(choices=[('llm', 'Llm'), ('pattern', 'Pattern'), ('co_occurrence', 'Co Occurrence')], max_length=13)),
                ('confidence', models.FloatField(default=1.0)),
                ('num_mentions', models.IntegerField(default=1)),
                ('valid_at', models.DateTimeField(null=True)),
                ('invalid_at', models.DateTimeField(null=True)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('expired_at', models.DateTimeField(null=True)),
                ('version', models.BigIntegerField(default=0)),
            ],
        ),
        migrations.CreateModel(
            name='RelationSource',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
            ],
        ),
        migrations.RemoveConstraint(
            model_name='entity',
            name='entity_name_unique',
        ),
        migrations.AddField(
            model_name='entity',
            name='description',
            field=models.TextField(blank=True, db_default='', default=''),
        ),
        migrations.AddField(
            model_name='entity',
            name='discriminator',
            field=models.CharField(blank=True, db_default='', default='', max_length=255),
        ),
        migrations.AddField(
            model_name='entity',
            name='is_ambiguous',
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddField(
            model_name='entity',
            name='last_mentioned_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='entity',
            name='merged_into',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='merged_from', to='memory_service.entity'),
        ),
        migrations.AddField(
            model_name='entity',
            name='num_mentions',
            field=models.IntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='entity',
            name='public_id',
            field=models.UUIDField(db_default=RandomUUID(), default=uuid.uuid4, editable=False, unique=True),
        ),
        migrations.AlterField(
            model_name='entity',
            name='public_id',
            field=models.UUIDField(default=uuid.uuid4, editable=False, unique=True),
        ),
        migrations.AddField(
            model_name='entity',
            name='version',
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='project',
            name='enable_graph',
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddIndex(
            model_name='entity',
            index=models.Index(fields=['scope', 'version'], name='entity_changed'),
        ),
        migrations.AddIndex(
            model_name='entity',
            index=models.Index(models.F('scope'), models.Func(models.F('normal_name'), models.Value(' '), models.Value(1), function='split_part', output_field=models.CharField()), name='entity_given_name'),
        ),
        migrations.AddConstraint(
            model_name='entity',
            constraint=models.UniqueConstraint(fields=('scope', 'normal_name', 'discriminator'), name='entity_name_unique'),
        ),
        migrations.AddConstraint(
            model_name='entity',
            constraint=models.CheckConstraint(condition=models.Q(('merged_into__isnull', True), models.Q(('merged_into', models.F('id')), _negated=True), _connector='OR'), name='entity_not_merged_into_itself'),
        ),
        migrations.AddField(
            model_name='entityalias',
            name='entity',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='aliases', to='memory_service.entity'),
        ),
        migrations.AddField(
            model_name='entityalias',
            name='scope',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='memory_service.scope'),
        ),
        migrations.AddField(
            model_name='entityembedding',
            name='profile',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='memory_service.embeddingprofile'),
        ),
        migrations.AddField(
            model_name='entityembedding',
            name='scope',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='memory_service.scope'),
        ),
        migrations.AddField(
            model_name='entitymerge',
            name='kept',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='merges_kept', to='memory_service.entity'),
        ),
        migrations.AddField(
            model_name='entitymerge',
            name='merged',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='merges_lost', to='memory_service.entity'),
        ),
        migrations.AddField(
            model_name='entitymerge',
            name='scope',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='entity_merges', to='memory_service.scope'),
        ),
        migrations.AddField(
            model_name='relation',
            name='scope',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='relations', to='memory_service.scope'),
        ),
        migrations.AddField(
            model_name='relation',
            name='source',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='relations_out', to='memory_service.entity'),
        ),
        migrations.AddField(
            model_name='relation',
            name='target',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='relations_in', to='memory_service.entity'),
        ),
        migrations.AddField(
            model_name='relationsource',
            name='memory',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='relation_links', to='memory_service.memory'),
        ),
        migrations.AddField(
            model_name='relationsource',
            name='relation',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='sources', to='memory_service.relation'),
        ),
        migrations.AddConstraint(
            model_name='entityalias',
            constraint=models.UniqueConstraint(fields=('scope', 'normal_name', 'entity'), name='entity_alias_unique'),
        ),
        migrations.AddConstraint(
            model_name='entityalias',
            constraint=models.CheckConstraint(condition=models.Q(('normal_name', ''), _negated=True), name='entity_alias_has_name'),
        ),
        migrations.AddConstraint(
            model_name='entitymerge',
            constraint=models.CheckConstraint(condition=models.Q(('kept', models.F('merged')), _negated=True), name='entity_merge_joins_two'),
        ),
        migrations.AddConstraint(
            model_name='entitymerge',
            constraint=models.UniqueConstraint(condition=models.Q(('undone_at__isnull', True)), fields=('merged',), name='entity_merged_once'),
        ),
        migrations.AddIndex(
            model_name='relation',
            index=models.Index(fields=['scope', 'version'], name='relation_changed'),
        ),
        migrations.AddConstraint(
            model_name='relation',
            constraint=models.UniqueConstraint(condition=models.Q(('expired_at__isnull', True)), fields=('scope', 'source', 'target', 'type', 'origin'), name='relation_one_open'),
        ),
        migrations.AddConstraint(
            model_name='relation',
            constraint=models.CheckConstraint(condition=models.Q(('origin__in', ['llm', 'pattern', 'co_occurrence'])), name='relation_origin_known'),
        ),
        migrations.AddConstraint(
            model_name='relation',
            constraint=models.CheckConstraint(condition=models.Q(('source', models.F('target')), _negated=True), name='relation_joins_two'),
        ),
        migrations.AddConstraint(
            model_name='relation',
            constraint=models.CheckConstraint(condition=models.Q(('confidence__gt', 0), ('confidence__lte', 1)), name='relation_confidence_range'),
        ),
        migrations.AddConstraint(
            model_name='relation',
            constraint=models.CheckConstraint(condition=models.Q(('type', ''), _negated=True), name='relation_has_type'),
        ),
        migrations.AddConstraint(
            model_name='relation',
            constraint=models.CheckConstraint(condition=models.Q(('expired_at__isnull', True), ('invalid_at__isnull', False), _connector='OR'), name='relation_closed_has_end'),
        ),
        migrations.AddConstraint(
            model_name='relation',
            constraint=models.CheckConstraint(condition=models.Q(('invalid_at__isnull', True), ('valid_at__isnull', True), ('invalid_at__gte', models.F('valid_at')), _connector='OR'), name='relation_valid_before_invalid'),
        ),
        migrations.AddConstraint(
            model_name='relationsource',
            constraint=models.UniqueConstraint(fields=('relation', 'memory'), name='relation_source_unique'),
        ),
        migrations.RunSQL(TRIGGERS, DROP_TRIGGERS),
        migrations.RunSQL(COUNT_MENTIONS, migrations.RunSQL.noop),
    ]

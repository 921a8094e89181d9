"""Documents, their texts and chunks, and what they are found by; webhooks that are told of them."""

import django.contrib.postgres.fields
import django.db.models.deletion
import django.utils.timezone
import pgvector.django.vector
import uuid
from django.db import migrations, models

# A document's state is its event's, whoever changes that; and a failure is told.
FOLLOW = """
CREATE FUNCTION memory_service_follow_document() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE followed uuid;
BEGIN
    UPDATE memory_service_document SET state = NEW.status, error = NEW.error, updated_at = now()
    WHERE event_id = NEW.id AND (state, error) IS DISTINCT FROM (NEW.status, NEW.error)
    RETURNING public_id INTO followed;
    IF followed IS NOT NULL AND NEW.status = 'FAILED' THEN
        INSERT INTO memory_service_webhookdelivery
            (public_id, webhook_id, memory_public_id, event_type, due_at, created_at)
        SELECT gen_random_uuid(), w.id, followed, 'document_fail', now(), now()
        FROM memory_service_webhook w
        WHERE w.project_id = NEW.project_id AND w.is_active AND 'document_fail' = ANY (w.event_types);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER event_document_followed AFTER UPDATE OF status, error ON memory_service_event
    FOR EACH ROW WHEN (NEW.type = 'DOCUMENT') EXECUTE FUNCTION memory_service_follow_document();
"""
UNFOLLOW = "DROP FUNCTION memory_service_follow_document() CASCADE"


def index_profiles(apps, schema_editor):
    """The profiles that are there get an index over passages, as new ones get by embedding.create_index."""
    for pk, dimensions in apps.get_model("memory_service", "EmbeddingProfile").objects.values_list("pk", "dimensions"):
        schema_editor.execute(
            f"CREATE INDEX IF NOT EXISTS passage_hnsw_{pk} ON memory_service_passageembedding "
            f"USING hnsw ((vector::vector({dimensions})) vector_cosine_ops) "
            f"WITH (m = 16, ef_construction = 64) WHERE profile_id = {pk}"
        )


class Migration(migrations.Migration):

    dependencies = [
        ('memory_service', '0012_traits'),
    ]

    operations = [
        migrations.CreateModel(
            name='Chunking',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('strategy', models.CharField(max_length=50)),
                ('options', models.JSONField(default=dict)),
                ('options_hash', models.CharField(max_length=64)),
                ('num_chunks', models.IntegerField(default=0)),
                ('num_terms', models.BinaryField(default=bytes)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('chunked_at', models.DateTimeField(null=True)),
            ],
        ),
        migrations.CreateModel(
            name='Document',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('public_id', models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ('user_id', models.CharField(max_length=255, null=True)),
                ('agent_id', models.CharField(max_length=255, null=True)),
                ('app_id', models.CharField(max_length=255, null=True)),
                ('run_id', models.CharField(max_length=255, null=True)),
                ('title', models.CharField(blank=True, default='', max_length=500)),
                ('source', models.CharField(blank=True, default='', max_length=2000)),
                ('filename', models.CharField(blank=True, default='', max_length=255)),
                ('metadata', models.JSONField(default=dict)),
                ('strategy', models.CharField(max_length=50)),
                ('options', models.JSONField(default=dict)),
                ('state', models.CharField(choices=[('PENDING', 'Pending'), ('RUNNING', 'Running'), ('SUCCEEDED', 'Succeeded'), ('FAILED', 'Failed')], default='PENDING', max_length=10)),
                ('error', models.TextField(blank=True, default='')),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('updated_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('deleted_at', models.DateTimeField(null=True)),
            ],
        ),
        migrations.CreateModel(
            name='DocumentBlob',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.IntegerField()),
                ('data', models.BinaryField()),
            ],
        ),
        migrations.CreateModel(
            name='DocumentChunk',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('public_id', models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ('ordinal', models.IntegerField()),
                ('start', models.BigIntegerField()),
                ('end', models.BigIntegerField()),
                ('num_tokens', models.IntegerField()),
                ('kind', models.CharField(blank=True, default='', max_length=30)),
                ('headings', django.contrib.postgres.fields.ArrayField(base_field=models.TextField(), default=list, size=None)),
                ('level', models.SmallIntegerField(default=0)),
                ('parent', models.IntegerField(null=True)),
                ('enrichment', models.JSONField(null=True)),
            ],
        ),
        migrations.CreateModel(
            name='DocumentChunking',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('public_id', models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ('state', models.CharField(choices=[('building', 'Building'), ('serving', 'Serving'), ('retired', 'Retired')], default='building', max_length=10)),
                ('num_embedded', models.IntegerField(null=True)),
                ('num_reused', models.IntegerField(null=True)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('served_at', models.DateTimeField(null=True)),
                ('retired_at', models.DateTimeField(null=True)),
            ],
        ),
        migrations.CreateModel(
            name='DocumentContent',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('sha256', models.CharField(max_length=64)),
                ('format', models.CharField(max_length=20)),
                ('num_bytes', models.BigIntegerField()),
                ('title', models.CharField(blank=True, default='', max_length=500)),
                ('num_pages', models.IntegerField(null=True)),
                ('num_pieces', models.IntegerField(default=0)),
                ('num_chars', models.BigIntegerField(default=0)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('parsed_at', models.DateTimeField(null=True)),
            ],
        ),
        migrations.CreateModel(
            name='DocumentPage',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.IntegerField()),
                ('page', models.IntegerField(null=True)),
                ('start', models.BigIntegerField()),
                ('num_chars', models.IntegerField()),
                ('text', models.TextField()),
            ],
        ),
        migrations.CreateModel(
            name='DocumentVersion',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.IntegerField()),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('served_at', models.DateTimeField(null=True)),
                ('expired_at', models.DateTimeField(null=True)),
            ],
        ),
        migrations.CreateModel(
            name='Passage',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('text_hash', models.CharField(max_length=64)),
                ('context', models.TextField(blank=True, default='')),
                ('text', models.TextField()),
            ],
        ),
        migrations.CreateModel(
            name='PassageEmbedding',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('vector', pgvector.django.vector.VectorField()),
            ],
        ),
        migrations.RemoveConstraint(
            model_name='webhook',
            name='webhook_event_types_known',
        ),
        migrations.AlterField(
            model_name='event',
            name='type',
            field=models.CharField(choices=[('ADD', 'Add'), ('DELETE', 'Delete'), ('CATEGORIZE', 'Categorize'), ('PROFILE', 'Profile'), ('SUMMARY', 'Summary'), ('DOCUMENT', 'Document')], max_length=10),
        ),
        migrations.AlterField(
            model_name='webhookdelivery',
            name='event_type',
            field=models.CharField(choices=[('memory_add', 'Add'), ('memory_update', 'Update'), ('memory_delete', 'Delete'), ('memory_categorize', 'Categorize'), ('document_add', 'Document Add'), ('document_update', 'Document Update'), ('document_delete', 'Document Delete'), ('document_fail', 'Document Fail')], max_length=30),
        ),
        migrations.AddConstraint(
            model_name='webhook',
            constraint=models.CheckConstraint(condition=models.Q(('event_types__len__gt', 0), ('event_types__contained_by', ['memory_add', 'memory_update', 'memory_delete', 'memory_categorize', 'document_add', 'document_update', 'document_delete', 'document_fail'])), name='webhook_event_types_known'),
        ),
        migrations.AddField(
            model_name='document',
            name='event',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='documents', to='memory_service.event'),
        ),
        migrations.AddField(
            model_name='document',
            name='project',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='documents', to='memory_service.project'),
        ),
        migrations.AddField(
            model_name='document',
            name='scope',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='documents', to='memory_service.scope'),
        ),
        migrations.AddField(
            model_name='documentchunk',
            name='chunking',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='chunks', to='memory_service.chunking'),
        ),
        migrations.AddField(
            model_name='documentchunking',
            name='chunking',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='uses', to='memory_service.chunking'),
        ),
        migrations.AddField(
            model_name='documentchunking',
            name='document',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='chunkings', to='memory_service.document'),
        ),
        migrations.AddField(
            model_name='documentcontent',
            name='project',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='document_contents', to='memory_service.project'),
        ),
        migrations.AddField(
            model_name='documentblob',
            name='content',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='blobs', to='memory_service.documentcontent'),
        ),
        migrations.AddField(
            model_name='document',
            name='content',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='documents', to='memory_service.documentcontent'),
        ),
        migrations.AddField(
            model_name='chunking',
            name='content',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='chunkings', to='memory_service.documentcontent'),
        ),
        migrations.AddField(
            model_name='documentpage',
            name='content',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='pages', to='memory_service.documentcontent'),
        ),
        migrations.AddField(
            model_name='documentversion',
            name='content',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='versions', to='memory_service.documentcontent'),
        ),
        migrations.AddField(
            model_name='documentversion',
            name='document',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='versions', to='memory_service.document'),
        ),
        migrations.AddField(
            model_name='documentchunking',
            name='version',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='chunkings', to='memory_service.documentversion'),
        ),
        migrations.AddField(
            model_name='passage',
            name='project',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='passages', to='memory_service.project'),
        ),
        migrations.AddField(
            model_name='documentchunk',
            name='passage',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='chunks', to='memory_service.passage'),
        ),
        migrations.AddField(
            model_name='passageembedding',
            name='passage',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='embeddings', to='memory_service.passage'),
        ),
        migrations.AddField(
            model_name='passageembedding',
            name='profile',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='passage_embeddings', to='memory_service.embeddingprofile'),
        ),
        migrations.AddConstraint(
            model_name='documentcontent',
            constraint=models.UniqueConstraint(fields=('project', 'sha256', 'format'), name='document_content_unique'),
        ),
        migrations.AddConstraint(
            model_name='documentblob',
            constraint=models.UniqueConstraint(fields=('content', 'number'), name='document_blob_unique'),
        ),
        migrations.AddIndex(
            model_name='document',
            index=models.Index(fields=['project', '-id'], name='document_project'),
        ),
        migrations.AddIndex(
            model_name='document',
            index=models.Index(condition=models.Q(('deleted_at__isnull', True)), fields=['scope'], name='document_live'),
        ),
        migrations.AddConstraint(
            model_name='document',
            constraint=models.UniqueConstraint(condition=models.Q(('deleted_at__isnull', True), models.Q(('source', ''), _negated=True)), fields=('scope', 'run_id', 'source'), name='document_source_unique', nulls_distinct=False),
        ),
        migrations.AddConstraint(
            model_name='document',
            constraint=models.UniqueConstraint(condition=models.Q(('deleted_at__isnull', True), ('source', '')), fields=('scope', 'run_id', 'content'), name='document_content_unique_in_scope', nulls_distinct=False),
        ),
        migrations.AddConstraint(
            model_name='document',
            constraint=models.CheckConstraint(condition=models.Q(('state__in', ['PENDING', 'RUNNING', 'SUCCEEDED', 'FAILED'])), name='document_state_known'),
        ),
        migrations.AddConstraint(
            model_name='document',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('state', 'FAILED'), _negated=True), models.Q(('error', ''), _negated=True), _connector='OR'), name='document_failure_has_reason'),
        ),
        migrations.AddConstraint(
            model_name='chunking',
            constraint=models.UniqueConstraint(fields=('content', 'strategy', 'options_hash'), name='chunking_unique'),
        ),
        migrations.AddConstraint(
            model_name='documentpage',
            constraint=models.UniqueConstraint(fields=('content', 'number'), name='document_page_unique'),
        ),
        migrations.AddConstraint(
            model_name='documentversion',
            constraint=models.UniqueConstraint(fields=('document', 'number'), name='document_version_unique'),
        ),
        migrations.AddConstraint(
            model_name='documentversion',
            constraint=models.CheckConstraint(condition=models.Q(('expired_at__isnull', True), ('served_at__isnull', True), ('expired_at__gte', models.F('served_at')), _connector='OR'), name='document_version_ordered'),
        ),
        migrations.AddIndex(
            model_name='documentchunking',
            index=models.Index(condition=models.Q(('state', 'serving')), fields=['document'], include=('chunking',), name='document_serving'),
        ),
        migrations.AddConstraint(
            model_name='documentchunking',
            constraint=models.UniqueConstraint(fields=('version', 'chunking'), name='document_chunking_unique'),
        ),
        migrations.AddConstraint(
            model_name='documentchunking',
            constraint=models.UniqueConstraint(condition=models.Q(('state', 'serving')), fields=('document',), name='document_one_chunking_serves'),
        ),
        migrations.AddConstraint(
            model_name='documentchunking',
            constraint=models.CheckConstraint(condition=models.Q(('state__in', ['building', 'serving', 'retired'])), name='document_chunking_state_known'),
        ),
        migrations.AddConstraint(
            model_name='passage',
            constraint=models.UniqueConstraint(fields=('project', 'text_hash'), name='passage_unique'),
        ),
        migrations.AddConstraint(
            model_name='documentchunk',
            constraint=models.UniqueConstraint(fields=('chunking', 'ordinal'), name='document_chunk_unique'),
        ),
        migrations.AddConstraint(
            model_name='documentchunk',
            constraint=models.CheckConstraint(condition=models.Q(('end__gt', models.F('start')), ('start__gte', 0)), name='document_chunk_span_ordered'),
        ),
        migrations.AddConstraint(
            model_name='documentchunk',
            constraint=models.CheckConstraint(condition=models.Q(('level__gt', 0), ('passage__isnull', False), _connector='OR'), name='document_chunk_searched_has_passage'),
        ),
        migrations.AddConstraint(
            model_name='passageembedding',
            constraint=models.UniqueConstraint(fields=('profile', 'passage'), name='passage_embedding_unique'),
        ),
        migrations.CreateModel(
            name='ChunkTerm',
            fields=[
                ('pk', models.CompositePrimaryKey('chunking_id', 'term', blank=True, editable=False, primary_key=True, serialize=False)),
                ('chunking', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, to='memory_service.chunking')),
                ('term', models.CharField(max_length=64)),
                ('packed', models.BinaryField()),
            ],
        ),
        # Packed already; and a page is read whole.
        migrations.RunSQL(
            "ALTER TABLE memory_service_documentblob ALTER COLUMN data SET STORAGE EXTERNAL;"
            "ALTER TABLE memory_service_chunkterm ALTER COLUMN packed SET STORAGE MAIN;",
            migrations.RunSQL.noop,
        ),
        migrations.RunSQL(FOLLOW, UNFOLLOW),
        migrations.RunPython(index_profiles, migrations.RunPython.noop),
    ]

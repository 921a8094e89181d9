from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("memory_service", "0010_answers"),
    ]

    operations = [
        migrations.AddField(
            model_name="apikey",
            name="bound_user_id",
            field=models.CharField(max_length=255, null=True),
        ),
        migrations.AddField(
            model_name="apikey",
            name="bound_agent_id",
            field=models.CharField(max_length=255, null=True),
        ),
        migrations.AddField(
            model_name="apikey",
            name="bound_app_id",
            field=models.CharField(max_length=255, null=True),
        ),
        migrations.AlterField(
            model_name="apikey",
            name="role",
            field=models.CharField(
                choices=[("owner", "Owner"), ("member", "Member"), ("viewer", "Viewer")],
                default="member",
                max_length=10,
            ),
        ),
        migrations.RemoveConstraint(model_name="apikey", name="key_role_known"),
        migrations.AddConstraint(
            model_name="apikey",
            constraint=models.CheckConstraint(
                condition=models.Q(role__in=["owner", "member", "viewer"]), name="key_role_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="apikey",
            constraint=models.CheckConstraint(
                condition=~models.Q(bound_user_id="") & ~models.Q(bound_agent_id="") & ~models.Q(bound_app_id=""),
                name="key_scope_named",
            ),
        ),
        migrations.AddConstraint(
            model_name="apikey",
            constraint=models.CheckConstraint(
                condition=~models.Q(role="owner")
                | models.Q(bound_user_id__isnull=True, bound_agent_id__isnull=True, bound_app_id__isnull=True),
                name="key_owner_unbound",
            ),
        ),
    ]

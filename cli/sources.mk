include services/spawner/image/sources.mk
CLI_STACK := cli/tree.c cli/stack.c cli/stack_text.c cli/stack_fields.c cli/stack_diff.c
CLI_CLIENT := cli/main.c cli/args.c cli/output.c cli/progress.c cli/file.c cli/credentials.c cli/client.c \
    cli/account.c cli/prompt.c cli/apikey.c cli/admin.c cli/secret.c cli/registry_login.c cli/calls.c cli/logs.c cli/top.c cli/queued.c cli/functions.c cli/deploy.c cli/invoke.c cli/stream.c cli/versions.c $(CLI_STACK) \
    cli/stack_deploy.c cli/stack_report.c cli/new.c cli/templates.c cli/build.c cli/child.c \
    cli/complete.c cli/completion.c cli/man.c cli/bench.c cli/histogram.c
CLI_UP := cli/up.c cli/down.c cli/status.c cli/instances.c cli/doctor.c cli/doctor_services.c cli/doctor_function.c cli/doctor_machine.c cli/scale.c cli/scale_plan.c cli/plan.c cli/plan_nats.c cli/programs.c cli/datadir.c cli/ports.c \
    cli/image_registry.c cli/keys.c cli/keys_tls.c cli/keys_nats.c cli/nats_conf.c cli/supervisor.c cli/process.c cli/logfile.c cli/state.c \
    cli/watchdog.c cli/ready.c cli/session.c cli/rotate.c cli/invite.c cli/init.c cli/engine_probe.c cli/runtime.c \
    cli/backup.c cli/backup_file.c cli/image_backup.c cli/restore.c cli/restore_write.c

$(eval $(call program,faas,$(CLI_CLIENT) $(CLI_UP) cli/image.c $(SPAWNER_IMAGE)))
$(eval $(call test,cli_args,cli/args.c))
$(eval $(call test,cli_complete,cli/complete.c cli/man.c cli/args.c))
$(eval $(call test,cli_histogram,cli/histogram.c))
$(eval $(call test,stack,$(CLI_STACK) cli/args.c))
$(eval $(call test,cli_output,cli/output.c))
$(eval $(call test,cli_scale,cli/scale_plan.c cli/args.c))
$(eval $(call test,cli_watchdog,cli/watchdog.c))
$(eval $(call test,cli_nats_conf,cli/nats_conf.c))
$(eval $(call test,cli_plan,cli/plan.c cli/plan_nats.c cli/image_registry.c cli/programs.c cli/datadir.c cli/ports.c cli/keys.c cli/keys_tls.c cli/keys_nats.c cli/file.c \
    cli/nats_conf.c cli/process.c cli/logfile.c cli/output.c cli/args.c cli/runtime.c cli/engine_probe.c))
$(eval $(call test,cli_init,cli/init.c cli/datadir.c cli/keys.c cli/keys_tls.c cli/keys_nats.c cli/file.c cli/nats_conf.c cli/args.c cli/output.c))
$(eval $(call test,cli_files,cli/credentials.c cli/datadir.c cli/ports.c cli/keys.c cli/keys_tls.c cli/keys_nats.c cli/file.c \
    cli/args.c))
$(eval $(call test,cli_logfile,cli/logfile.c cli/file.c cli/output.c))
$(eval $(call test,cli_runtime,cli/runtime.c cli/engine_probe.c cli/programs.c cli/file.c cli/nats_conf.c))
$(eval $(call test,backup_file,cli/backup_file.c cli/file.c))
$(eval $(call static_program,faas-probe,cli/probe.c))

# The assembler reads these files into templates.o.
$(O)/cli/templates.o: $(wildcard cli/templates/*/*)

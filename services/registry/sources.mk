REGISTRY_NOUNS := services/registry/image_ref.c services/registry/function.c \
    services/registry/function_rules.c services/registry/function_own.c
REGISTRY_CATALOG := services/registry/catalog.c services/registry/catalog_file.c \
    services/registry/catalog_names.c services/registry/names.c services/registry/catalog_layout.c
REGISTRY_RECORDS := services/registry/records.c services/registry/records_write.c \
    services/registry/call_record.c

$(eval $(call program,faas-registry,services/registry/main.c services/registry/endpoints.c \
    services/registry/writes.c services/registry/store.c services/registry/resolver.c \
    services/registry/kept.c services/registry/follow.c services/registry/calls.c services/registry/picks.c \
    services/registry/records_follow.c services/registry/secrets.c services/registry/secret_users.c \
    services/registry/logins.c services/registry/log_lines.c services/registry/purge.c services/registry/secret_index.c $(REGISTRY_RECORDS) $(REGISTRY_CATALOG) \
    $(REGISTRY_NOUNS)))
$(eval $(call test,image_ref,services/registry/image_ref.c))
$(eval $(call test,function,$(REGISTRY_NOUNS)))
$(eval $(call test,function_rules,$(REGISTRY_NOUNS)))
$(eval $(call test,function_own,$(REGISTRY_NOUNS)))
$(eval $(call test,names,services/registry/names.c))
$(eval $(call test,secret_index,services/registry/secret_index.c))
$(eval $(call test,kept,services/registry/kept.c))
$(eval $(call test,catalog,tests/unit/catalog_rig.c $(REGISTRY_CATALOG) $(REGISTRY_NOUNS)))
$(eval $(call test,catalog_files,tests/unit/catalog_rig.c $(REGISTRY_CATALOG) $(REGISTRY_NOUNS)))
$(eval $(call test,call_record,services/registry/call_record.c))
$(eval $(call test,records,tests/unit/catalog_rig.c $(REGISTRY_RECORDS) $(REGISTRY_CATALOG) \
    $(REGISTRY_NOUNS)))
$(eval $(call integration,registry,tests/support/program.c tests/support/shop.c))
$(eval $(call integration,registry_picks,tests/support/program.c tests/support/shop.c))
$(eval $(call integration,registry_again,tests/support/program.c tests/support/shop.c))
$(eval $(call integration,registry_faults,tests/support/program.c tests/support/shop.c))
$(eval $(call bench,records_model,bench/records_model.c $(REGISTRY_RECORDS) $(REGISTRY_CATALOG) $(REGISTRY_NOUNS)))

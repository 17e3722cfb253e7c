REGISTRY_NOUNS := services/registry/image_ref.c services/registry/function.c \
    services/registry/function_rules.c

$(eval $(call test,image_ref,services/registry/image_ref.c))
$(eval $(call test,function,$(REGISTRY_NOUNS)))

$(eval $(call integration,rpc))
$(eval $(call integration,kv))

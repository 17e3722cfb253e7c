$(eval $(call integration,rpc))
$(eval $(call integration,kv))
$(eval $(call integration,feed))

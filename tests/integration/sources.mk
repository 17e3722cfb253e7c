$(eval $(call integration,rpc))
$(eval $(call integration,kv))
$(eval $(call integration,feed))
$(eval $(call integration,permissions))

$(eval $(call test,frames,))

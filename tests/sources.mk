# Unit tests: one program per module, tests/unit/test_<module>.c with libfaas and the sources named.
$(eval $(call test,err,))
$(eval $(call test,text,))
$(eval $(call test,clock,))
$(eval $(call test,id,))
$(eval $(call test,name,))

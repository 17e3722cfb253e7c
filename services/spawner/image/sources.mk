# The image store, for whoever keeps images: the spawner, and `faas image`.
SPAWNER_IMAGE := $(addprefix services/spawner/image/,accounts.c catalog.c child.c child_fetch.c config.c files.c \
	import.c layer.c limits.c prune.c pull.c push.c record.c registry_folder.c source.c source_docker.c source_oci.c staging.c store.c user.c volumes.c volumes_place.c) \
	$(addprefix services/spawner/,engine_save.c ref.c registry_auth.c)
# What reads strangers' archives, in a process of its own.
SPAWNER_UNPACK := $(addprefix services/spawner/image/,assemble.c decompress.c entry_name.c files.c pack.c tarsplit.c unpack.c)

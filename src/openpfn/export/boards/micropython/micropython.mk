# USER_C_MODULES names the folder that holds this one.
SRC_USERMOD_C += $(USERMOD_DIR)/micropython/pfn_module.c
SRC_USERMOD_LIB_C += $(USERMOD_DIR)/pfn.c
CFLAGS_USERMOD += -I$(USERMOD_DIR)

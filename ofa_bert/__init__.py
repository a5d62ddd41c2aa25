"""DynaBERT / once-for-all: one network of many widths and depths, and the sub-networks cut from it."""

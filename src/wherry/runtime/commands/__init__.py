"""The commands of `wherry-runc`: one module each, with its face (`COMMAND`) and its action (`run`)."""

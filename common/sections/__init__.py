"""The settings by area, one module each; `common.config` puts them together and reads them."""

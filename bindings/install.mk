# make install and make uninstall. Included by the Makefile at the root.

PREFIX     ?= /usr/local
LIBDIR     ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include

.PHONY: install uninstall

INSTALL = PREFIX="$(PREFIX)" LIBDIR="$(LIBDIR)" INCLUDEDIR="$(INCLUDEDIR)" DESTDIR="$(DESTDIR)" bindings/install.sh

# root often has no cargo: then what `make lib` has built is installed.
install: $(if $(shell command -v $(CARGO)),lib) ## libraries, headers, pkg-config and CMake files, to PREFIX (/usr/local); DESTDIR, LIBDIR, INCLUDEDIR
	@$(INSTALL) put $(LIB_RELEASE)

uninstall: ## takes away what install put there
	@$(INSTALL) remove

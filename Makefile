# SPDX-License-Identifier: GPL-2.0
#
# make            the module, the daemon and the tools
# make demo       see it work, in a virtual machine (root; installs packages)
# make bench      what it costs, and others: a table and build/bench.html
# make check      all tests, in under 30 minutes (likewise)
# make check-long what takes longer
# make check-debug    the guest tests in a debug kernel (likewise)
# make check-coverage lines of kmod/ that the guest tests run (likewise)
# make check-kernels  on Debian's backported and newest kernels (likewise)
# make soak       MINUTES=10, of mixed load: is memory flat? (likewise)
# make fuzz       FUZZ_SECONDS=60, of each fuzzer (likewise)
# make lint       style, warnings, and the netlink contract (likewise)
# make install    PREFIX=/usr/local DESTDIR=
# make clean

# The kernel to build for: the running one, else the newest with headers here.
KDIR ?= $(firstword $(wildcard /lib/modules/$(shell uname -r)/build) \
	$(shell ls -d /lib/modules/*/build 2>/dev/null | sort -V | tail -n 1))

# Its generation needs the kernel's vmlinux, which Debian does not ship.
NO_BTF := CONFIG_DEBUG_INFO_BTF_MODULES=

PREFIX ?= /usr/local
DESTDIR ?=

CC ?= gcc
CFLAGS ?= -O2 -g
WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
	-Wpointer-arith -Wwrite-strings -Wundef -Wvla -Wformat=2
USER_CFLAGS := -std=gnu11 -D_GNU_SOURCE $(WARNINGS) -Ikmod/uapi
# The module's pure files, with stand-ins for the kernel's headers.
PURE_CFLAGS := $(USER_CFLAGS) -Wno-unused-parameter -Ikmod/shim -Ikmod

KMQTTD_SRC := $(wildcard userspace/*.c) kmod/frame.c kmod/head.c \
	kmod/property.c kmod/rules.c kmod/topic.c kmod/trie.c
KMQTTD_LIBS := -luring -lmnl -lsqlite3 -lcrypto -largon2 -lseccomp -lgsasl -lpthread
CTL_SRC := $(wildcard tools/ctl/*.c)
BENCH_SRC := $(wildcard tools/bench/*.c)

PROGRAMS := userspace/kmqttd tools/kmqttctl tools/kmqtt-bench

# The last two are for tests.
all: module $(PROGRAMS) build/kmqttd-test selftests/hammer

module:
	@test -n "$(KDIR)" || { echo "No kernel headers: install" \
		"linux-headers-amd64, or set KDIR=." >&2; exit 1; }
	$(MAKE) -C $(KDIR) M=$(CURDIR) $(NO_BTF) modules

# Objects of user space live under build/, so that the kernel's do not meet
# them.
build/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(OBJ_CFLAGS) -MMD -MP -c -o $@ $<

objects = $(patsubst %.c,build/%.o,$(1))

build/kmod/%.o build/userspace/%.o build/selftests/%.o: \
	OBJ_CFLAGS := $(PURE_CFLAGS)
build/tools/%.o: OBJ_CFLAGS := $(USER_CFLAGS)

userspace/kmqttd: $(call objects,$(KMQTTD_SRC))
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(KMQTTD_LIBS)

# For tests that must be able to fail: it can be told to acknowledge too early.
build/test/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(PURE_CFLAGS) -DKMQTTD_TEST -MMD -MP -c -o $@ $<

build/kmqttd-test: $(patsubst %.c,build/test/%.o,$(KMQTTD_SRC))
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(KMQTTD_LIBS)

tools/kmqttctl: $(call objects,$(CTL_SRC))
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -lmnl

tools/kmqtt-bench: $(call objects,$(BENCH_SRC))
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^

selftests/hammer: $(call objects,selftests/hammer.c)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -lmnl -lpthread

demo:
	tools/setup demo
	$(MAKE) --no-print-directory -s all
	tools/demo

# BROKER="name:command:port" measures another one too.
bench:
	tools/setup demo
	$(MAKE) --no-print-directory -s all
	BENCH_COMMAND="make bench" tools/bench-run build/bench/results.jsonl; \
	status=$$?; tools/bench-page build/bench/results.jsonl \
		build/bench.html && exit $$status

# What the last make bench measured is what make check expects from now on.
bench-budget:
	tools/bench-budget write build/bench/results.jsonl

check:
	tools/setup check
	selftests/check

check-long:
	tools/setup check
	tools/setup kernels
	selftests/check --long

FUZZ_SECONDS ?= 60

fuzz:
	tools/setup check
	$(MAKE) --no-print-directory -s all
	selftests/check-fuzz $(FUZZ_SECONDS)

MINUTES ?= 10

soak:
	tools/setup check
	$(MAKE) --no-print-directory -s all
	selftests/soak $(MINUTES)

check-debug:
	tools/setup check
	$(MAKE) --no-print-directory -s all
	selftests/check-debug

check-coverage:
	tools/setup check
	$(MAKE) --no-print-directory -s all
	selftests/check-coverage

check-kernels:
	tools/setup kernels
	selftests/check-kernels

lint:
	tools/lint

install: all
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	sed 's|@PREFIX@|$(PREFIX)|' userspace/kmqttd.service.in \
		>$(DESTDIR)$(PREFIX)/lib/systemd/system/kmqttd.service
	install -D -m 0644 kmod/kmqtt.ko -t $(DESTDIR)/lib/modules/$(shell \
		sed -n 's/.*"\(.*\)"/\1/p' \
		$(KDIR)/include/generated/utsrelease.h)/extra
	install -D -m 0755 userspace/kmqttd -t $(DESTDIR)$(PREFIX)/sbin
	install -D -m 0755 tools/kmqttctl -t $(DESTDIR)$(PREFIX)/sbin
	install -D -m 0755 tools/kmqtt-bench -t $(DESTDIR)$(PREFIX)/bin
	install -D -m 0644 kmod/uapi/linux/kmqtt.h -t \
		$(DESTDIR)$(PREFIX)/include/linux

clean:
	test -z "$(KDIR)" || $(MAKE) -C $(KDIR) M=$(CURDIR) clean
	rm -rf build $(PROGRAMS) selftests/hammer

.PHONY: all module demo bench bench-budget check check-long check-debug \
	check-coverage check-kernels fuzz soak lint install clean

-include $(shell find build -name '*.d' 2>/dev/null)

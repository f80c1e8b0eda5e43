IMAGE  ?= funker-dispatch
COMMIT := $(shell git describe --always --dirty 2>/dev/null)

.PHONY: build test check fuzz crash soak bench image image-armhf

# One static binary for this machine: ./funker-dispatch
build:
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.commit=$(COMMIT)' -o funker-dispatch ./cmd/funker-dispatch

test:
	go test ./...

# The whole gate, as CI runs it; it installs what it needs
check:
	.ci/run

# Every fuzz target for a while: make fuzz FUZZTIME=5m
fuzz:
	.ci/run fuzz

# A thousand kills of the gateway and its workers, and a worker that stalls for a minute; FUNKER_TEST_SEED_CRASH repeats one
crash:
	FUNKER_TEST_KILLS=1000 FUNKER_TEST_STALL=60s go test -v -run TestCrash_ -count=1 -timeout 30m ./cmd/funker-dispatch

# Many things that go wrong with three gateways, as root: make soak SEEDS=1000 FROM=5000. FROM is the first seed; with SEEDS=1
# it is repeated
SEEDS ?= 300
FROM  ?= 100
soak:
	FUNKER_FAULT_SEED=$(FROM) FUNKER_FAULT_SEEDS=$(SEEDS) go test -v -run TestFaults_ -count=1 -parallel 4 -timeout 0 ./cmd/funker-dispatch

# The benchmarks of the packages, then the whole data path
bench:
	go test -run '^$$' -bench . -benchmem ./...
	go run ./cmd/funker-dispatch bench

# For the platform of the Docker daemon; PLATFORM=linux/arm64 for another one
image:
	DOCKER_BUILDKIT=1 docker build $(if $(PLATFORM),--platform $(PLATFORM)) --build-arg COMMIT=$(COMMIT) -t $(IMAGE) .

# For every Raspberry Pi
image-armhf:
	DOCKER_BUILDKIT=1 docker build --platform linux/arm/v6 -f Dockerfile.armhf --build-arg COMMIT=$(COMMIT) -t $(IMAGE):armhf .

# syntax=docker/dockerfile:1
# SPDX-License-Identifier: Apache-2.0
# The images of Bourse, one target each. The flags make equal sources give equal bytes.
FROM --platform=$BUILDPLATFORM golang:1.26.8 AS build
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=""
ENV CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS="-buildvcs=false -trimpath -gcflags=all=-dwarf=false"
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY api/ api/
COPY cmd/ cmd/
COPY controllers/ controllers/
COPY internal/ internal/
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    GOOS=$TARGETOS GOARCH=$TARGETARCH go build -ldflags="-s -w -X main.release=$VERSION" -o /out/bourse-manager ./cmd/manager

FROM build AS build-agent
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=""
# Without gRPC's tracing pages, the binary is a fifth smaller, and so is what it takes of a node's memory.
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    GOOS=$TARGETOS GOARCH=$TARGETARCH go build -tags=grpcnotrace -ldflags="-s -w -X main.release=$VERSION" -o /out/bourse-agent ./cmd/agent

# The agent of a node. Built without cgo, it looks up each function of the driver's library by its name, so that a driver that is too old to
# have one leaves a field empty; a binary that is linked to them would be ended by the loader. It needs no C compiler for the other
# architecture either. It still loads that library, which is made for glibc and which the container runtime puts into the container: so the
# base has glibc, and is neither static nor musl. It runs as root, without any capability, because the kubelet's socket is root's.
FROM gcr.io/distroless/base-debian13 AS agent
COPY --from=build-agent /out/bourse-agent /bourse-agent
USER 0:0
EXPOSE 8082
ENTRYPOINT ["/bourse-agent"]

# The manager: one static binary, no shell, not root. The base brings the certificate authorities and nothing that runs.
FROM gcr.io/distroless/static:nonroot AS manager
COPY --from=build /out/bourse-manager /bourse-manager
USER 65532:65532
EXPOSE 8081 8443
ENTRYPOINT ["/bourse-manager"]

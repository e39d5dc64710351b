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

# The manager: one static binary, no shell, not root. The base brings the certificate authorities and nothing that runs.
FROM gcr.io/distroless/static:nonroot AS manager
COPY --from=build /out/bourse-manager /bourse-manager
USER 65532:65532
EXPOSE 8081 8443
ENTRYPOINT ["/bourse-manager"]

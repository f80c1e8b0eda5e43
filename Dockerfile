# The image for amd64, arm64 and arm, cross-compiled on the build machine: needs BuildKit (DOCKER_BUILDKIT=1 or buildx).
# The classic builder builds Dockerfile.armhf.
FROM --platform=$BUILDPLATFORM golang:1.26-alpine AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG TARGETARCH
ARG TARGETVARIANT
ARG COMMIT=
RUN if [ "$TARGETARCH" = arm ]; then export GOARM="${TARGETVARIANT#v}"; fi && \
    CGO_ENABLED=0 GOOS=linux GOARCH="$TARGETARCH" go build -buildvcs=false -trimpath \
        -ldflags "-s -w -X main.commit=$COMMIT" -o /out/funker-dispatch ./cmd/funker-dispatch && \
    mkdir -p /out/volume/data /out/volume/tmp && chmod 700 /out/volume/data && chmod 1777 /out/volume/tmp

FROM scratch
LABEL org.opencontainers.image.title="funker-dispatch" org.opencontainers.image.licenses="MIT"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/funker-dispatch /funker-dispatch
COPY --from=build --chown=65532:65532 /out/volume/ /
ENV FUNKER_DATA=/data FUNKER_MANIFEST=/etc/funker/functions.yaml
USER 65532:65532
VOLUME /data
EXPOSE 3000
ENTRYPOINT ["/funker-dispatch"]
CMD ["serve"]

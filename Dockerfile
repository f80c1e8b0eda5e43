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
    mkdir -p /out/root/data /out/root/tmp && chmod 770 /out/root/data && chmod 1777 /out/root/tmp

FROM scratch
LABEL org.opencontainers.image.title="funker-dispatch" org.opencontainers.image.licenses="MIT"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/funker-dispatch /funker-dispatch
# /data belongs to the group of root too: root without capabilities may do no more than others.
COPY --from=build --chown=65532:0 /out/root/ /
ENV FUNKER_DATA=/data FUNKER_HEALTH=127.0.0.1:3002
USER 65532:65532
WORKDIR /etc/funker
VOLUME /data
EXPOSE 3000
HEALTHCHECK --interval=10s --timeout=5s --start-period=5m CMD ["/funker-dispatch", "healthcheck"]
ENTRYPOINT ["/funker-dispatch"]
CMD ["serve"]

# The image is one static binary and an empty /data that it may write to. It
# needs nothing else: run it with a read-only root.
#
#   docker build --build-arg VERSION=$(git describe --tags --always) -t eider .
#   docker run --read-only -v eider:/data -p 8080:8080 eider

FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=unknown
RUN make build VERSION="$VERSION" && mkdir /empty

FROM scratch
COPY --from=build /src/bin/eider /eider
COPY --from=build --chown=65532:65532 --chmod=0700 /empty /data
USER 65532:65532
ENV EIDER_HOST=0.0.0.0 EIDER_DATA_DIR=/data
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=6s --start-period=5s CMD ["/eider", "healthcheck"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/eider"]
CMD ["serve"]

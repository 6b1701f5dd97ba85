# syntax=docker/dockerfile:1
# Images of the parts of EchoMimic Server; docs/deployment.md is their guide.
#
#   docker build --target api -t echomimic-api .
#   docker build --target worker -t echomimic-worker .
#   docker build --target worker-cuda -t echomimic-worker-cuda .

ARG NODE_IMAGE=docker.io/library/node:22-bookworm-slim
# The driver of the host must be one for this CUDA or a later one. The major version has to be that
# of ONNX Runtime's GPU providers, which the build checks.
ARG CUDA_IMAGE=docker.io/nvidia/cuda:12.9.1
ARG CUDA_SYSTEM=ubuntu24.04

# --- npm packages -------------------------------------------------------------------------------

FROM ${NODE_IMAGE} AS packages
WORKDIR /app
ENV ONNXRUNTIME_NODE_INSTALL=skip
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev

FROM packages AS all-packages
RUN npm ci

# --- what is compiled once, for every kind of machine -------------------------------------------

FROM all-packages AS compiled
COPY . .
RUN node node_modules/typescript/bin/tsc -p . \
  && node scripts/bundle-packages.mjs \
  && node node_modules/vite/bin/vite.js build web
RUN node dist/weights/cli.js import weights/bundled --name small

FROM all-packages AS sources
COPY scripts scripts
RUN node scripts/onnxruntime-headers.mjs
COPY CMakeLists.txt binding.gyp ./
COPY native native

FROM sources AS engine
RUN apt-get update \
  && apt-get install -y --no-install-recommends cmake g++ make \
  && rm -rf /var/lib/apt/lists/*
RUN node scripts/build-addon.mjs cmake

FROM ${CUDA_IMAGE}-devel-${CUDA_SYSTEM} AS engine-cuda
RUN apt-get update \
  && apt-get install -y --no-install-recommends cmake g++ make \
  && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY --from=packages /usr/local/bin/node /usr/local/bin/
COPY --from=sources /app ./
COPY test/native/twins.cc test/native/
# For these GPUs only, such as 90 or 80,90: a quicker build and a smaller image. Empty: all.
ARG CUDA_ARCHITECTURES=
RUN node scripts/build-addon.mjs --cuda --architectures "${CUDA_ARCHITECTURES}"
RUN node node_modules/onnxruntime-node/script/install.js --onnxruntime-node-install=cuda12

# --- what every image holds ---------------------------------------------------------------------

FROM scratch AS app
COPY package.json package-lock.json LICENSE /app/
COPY scripts/*.mjs /app/scripts/
COPY src/queue/lua /app/src/queue/lua
COPY weights/bundled/samples /app/weights/bundled/samples
COPY --from=compiled /app/dist /app/dist

FROM ${NODE_IMAGE} AS base
RUN apt-get update \
  && apt-get install -y --no-install-recommends ca-certificates ffmpeg \
  && rm -rf /var/lib/apt/lists/* \
  && install -d -o 10001 -g 10001 /data
ENV NODE_ENV=production ENV_FILE=none DATA_DIR=/data HOME=/tmp
WORKDIR /app

# --- the API ------------------------------------------------------------------------------------

FROM packages AS api-packages
COPY scripts/files.mjs scripts/drop-engine-packages.mjs scripts/
RUN node scripts/drop-engine-packages.mjs

FROM base AS api
COPY --from=api-packages /app/node_modules node_modules
COPY --from=app /app ./
ENV HOST=0.0.0.0 PORT=3000 WORKER_DEVICES=none
USER 10001:10001
VOLUME /data
EXPOSE 3000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
  CMD ["node", "-e", "fetch('http://127.0.0.1:' + process.env.PORT + '/livez').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
CMD ["node", "dist/src/server.js"]

# --- workers: each container supervises one process per device -----------------------------------

FROM base AS worker
COPY --from=packages /app/node_modules node_modules
COPY --from=app /app ./
COPY --from=compiled /app/weights/small weights/small
COPY --from=engine /app/build/cmake/Release build/cmake/Release
ENV WORKER_DEVICES=cpu
USER 10001:10001
VOLUME /data
# The supervisor kills a worker that hangs and starts another, so there is nothing to ask it.
HEALTHCHECK NONE
CMD ["node", "dist/scripts/workers.js"]

FROM ${CUDA_IMAGE}-cudnn-runtime-${CUDA_SYSTEM} AS worker-cuda
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# TensorRT: the newest that is built for this image's CUDA, or the version that TENSORRT names.
ARG TENSORRT=
RUN apt-get update \
  && version="${TENSORRT:-$(apt-cache madison libnvinfer10 | awk -v cuda="+cuda${CUDA_VERSION%%.*}." 'index($3, cuda) && !known { known = 1; print $3 }')}" \
  && apt-get install -y --no-install-recommends ca-certificates ffmpeg \
    "libnvinfer10=${version}" "libnvinfer-plugin10=${version}" "libnvonnxparsers10=${version}" \
  && rm -rf /var/lib/apt/lists/* \
  && install -d -o 10001 -g 10001 /data
COPY --from=packages /usr/local/bin/node /usr/local/bin/
WORKDIR /app
COPY --from=packages /app/node_modules node_modules
COPY --from=app /app ./
COPY --from=compiled /app/weights/small weights/small
COPY --from=engine-cuda /app/build/cuda/Release build/cuda/Release
COPY --from=engine-cuda /app/node_modules/onnxruntime-node/bin node_modules/onnxruntime-node/bin
# Fails where the providers want other libraries than there are; the driver's comes with the GPU.
RUN missing="$(ldd node_modules/onnxruntime-node/bin/napi-v6/linux/x64/libonnxruntime_providers_*.so \
    | awk '/not found/ && $1 != "libcuda.so.1" { print $1 }' | sort -u)" \
  && if [ -n "${missing}" ]; then \
    echo "ONNX Runtime's providers miss: ${missing}. Build with a CUDA_IMAGE of that major version" >&2; \
    exit 1; \
  fi
ENV NODE_ENV=production ENV_FILE=none DATA_DIR=/data HOME=/tmp WORKER_DEVICES=auto \
  NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility,video
USER 10001:10001
VOLUME /data
HEALTHCHECK NONE
CMD ["node", "dist/scripts/workers.js"]

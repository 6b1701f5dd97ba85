import { Type } from 'typebox';
import {
  databaseUrl,
  hostName,
  hours,
  httpUrl,
  apiKey,
  megabytes,
  otlpHeaders,
  path,
  range,
  token,
} from './values.js';

/** Settings of the API process. `unset` says what an optional one is when it is not given. */

export const server = {
  ENV_FILE: Type.String({
    ...path,
    default: '.env',
    description:
      'file with settings (`NAME=value` on each line) for those that the environment lacks, relative to the project; `none`: no file. Only the environment itself can name it',
  }),
  HOST: Type.String({
    ...hostName,
    default: '127.0.0.1',
    description: 'address the API listens on',
  }),
  PORT: Type.Integer({
    ...range(0, 65535, 3000),
    description: 'its port; 0 takes a free one',
  }),
  BASE_URL: Type.Optional(
    Type.String({
      ...httpUrl,
      unset: '`http://localhost:PORT`',
      description: 'where workers reach the API to download and upload files',
    }),
  ),
  PUBLIC_BASE_URL: Type.Optional(
    Type.String({
      ...httpUrl,
      description:
        'where clients, and services on the internet, reach the API; file links are built on it',
    }),
  ),
  PEER_URL: Type.Optional(
    Type.String({
      ...httpUrl,
      unset: 'the address it listens on',
      description: 'where the other API processes reach this one ([scaling.md](scaling.md))',
    }),
  ),
  TRUST_PROXY: Type.Optional(
    Type.String({
      pattern:
        '^(loopback|linklocal|uniquelocal|[0-9a-fA-F.:]+(/[0-9]{1,3})?)(,(loopback|linklocal|uniquelocal|[0-9a-fA-F.:]+(/[0-9]{1,3})?))*$',
      description:
        'proxies whose `X-Forwarded-For` names the client: addresses, networks such as `10.0.0.0/8`, or `loopback`, separated by commas',
    }),
  ),
  DATA_DIR: Type.String({
    ...path,
    default: 'data',
    description: 'folder of temp files and of the private Redis, relative to the project',
  }),
  DATABASE_URL: Type.Optional(
    Type.String({
      ...databaseUrl,
      unset: '`sqlite:` a file in `DATA_DIR`',
      description: '`postgres://…` for more than one machine',
    }),
  ),
  LOG_LEVEL: Type.Enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'], {
    default: 'info',
    description: 'the least that is logged',
  }),
  API_TOKEN: Type.Optional(
    Type.String({
      ...token,
      description:
        'when set (16 characters or more), every request for temp files must carry it as a bearer token, or an access token, which opens the files of its account alone ([accounts.md](accounts.md#files))',
    }),
  ),
  OPERATOR_TOKEN: Type.Optional(
    Type.String({
      ...token,
      description:
        'when set (16 characters or more), the operator API and the metrics want it as a bearer token; without it they answer only at the machine itself ([operations.md](operations.md#who-may-ask))',
    }),
  ),
  OTEL_EXPORTER_OTLP_ENDPOINT: Type.Optional(
    Type.String({
      ...httpUrl,
      unset: 'nothing is traced',
      description:
        'base address of an OpenTelemetry collector (OTLP over HTTP, JSON), for example `http://127.0.0.1:4318` ([operations.md](operations.md#traces))',
    }),
  ),
  OTEL_EXPORTER_OTLP_HEADERS: Type.Optional(
    Type.String({
      ...otlpHeaders,
      description:
        'headers for it, `name=value` separated by commas, values encoded as in URLs; they may hold a key',
    }),
  ),
  OTEL_SERVICE_NAME: Type.String({
    pattern: '^[A-Za-z0-9._-]{1,64}$',
    default: 'echomimic',
    description: 'what traces call this service: `-api` and `-worker` are added',
  }),
  OTEL_TRACES_SAMPLER_ARG: Type.Number({
    ...range(0, 1, 1),
    description:
      'the part of all traces that is kept, unless whoever sends a `traceparent` decided',
  }),
  SHUTDOWN_SECONDS: Type.Number({
    ...range(0.1, 3600, 10),
    description: 'time that running work gets when the server stops',
  }),
};

export const files = {
  TEMP_FILE_EXPIRY: Type.Number({
    ...hours(24),
    description: 'hours that a temp file lives',
  }),
  TEMP_FILE_STORE: Type.Optional(
    Type.String({
      pattern: '^(s3://[a-z0-9][a-z0-9.-]{1,62}(/[A-Za-z0-9._/-]{0,200})?|[^:]+)$',
      unset: '`tempfiles` in `DATA_DIR`',
      description:
        'where they lie: a folder, or `s3://BUCKET/PREFIX` ([scaling.md](scaling.md#temp-files))',
    }),
  ),
  S3_ENDPOINT: Type.Optional(
    Type.String({
      ...httpUrl,
      unset: "Amazon's",
      description: 'address of the S3-compatible service',
    }),
  ),
  S3_REGION: Type.String({
    pattern: '^[A-Za-z0-9-]{1,64}$',
    default: 'us-east-1',
    description: 'its region',
  }),
  S3_ACCESS_KEY_ID: Type.Optional(
    Type.String({
      ...apiKey,
      pattern: '^[\\x21-\\x7e]{1,128}$',
      unset: 'that of the machine',
      description: 'key for the bucket',
    }),
  ),
  S3_SECRET_ACCESS_KEY: Type.Optional(
    Type.String({
      ...apiKey,
      unset: 'that of the machine',
      description: 'its secret half',
    }),
  ),
  S3_PATH_STYLE: Type.Optional(
    Type.Enum(['yes', 'no'], {
      unset: '`yes` with `S3_ENDPOINT`',
      description:
        'whether the bucket stands in the path of addresses (`yes`) or in the name of the host (`no`)',
    }),
  ),
  MAX_IMAGE_MB: Type.Integer({
    ...megabytes(32),
    description: 'largest upload of a picture, in MiB',
  }),
  MAX_AUDIO_MB: Type.Integer({
    ...megabytes(256),
    description: 'largest upload of a recording, in MiB',
  }),
  MAX_VIDEO_MB: Type.Integer({
    ...megabytes(1024),
    description: 'largest upload of a video, in MiB',
  }),
  MAX_AUDIO_SECONDS: Type.Number({
    ...range(1, 24 * 3600, 600),
    description: 'longest speech',
  }),
  MAX_VIDEO_SIDE: Type.Optional(
    Type.Integer({
      minimum: 64,
      maximum: 2048,
      multipleOf: 8,
      description: 'largest side of a video, in pixels, that a task may ask for; a multiple of 8',
      unset: 'what the model was made for',
    }),
  ),
};

export const limits = {
  REQUESTS_PER_MINUTE: Type.Integer({
    ...range(0, 1_000_000, 600),
    description: 'requests of a user; of an address ten times as many; 0 is no limit',
  }),
  TURNS_PER_MINUTE: Type.Integer({
    ...range(0, 1_000_000, 60),
    description:
      'messages and recordings of a user in sessions, and tasks over HTTP; of an address without accounts ten times as many; 0 is no limit',
  }),
  TASKS_PER_USER: Type.Integer({
    ...range(0, 1_000_000, 10),
    description:
      "tasks of a user's sessions and over HTTP that wait or run; of an address ten times as many; 0 is no limit",
  }),
  TASK_QUEUE_LIMIT: Type.Integer({
    ...range(0, 1_000_000, 1000),
    description:
      'tasks that may wait for one device before sessions and HTTP are refused more; 0 is no limit',
  }),
  CONVERSATIONS_PER_USER: Type.Integer({
    ...range(0, 1_000_000, 1000),
    description: 'conversations that an account keeps; 0 is no limit',
  }),
  STORAGE_PER_USER_MB: Type.Integer({
    ...range(0, 16_777_216, 4096),
    description: 'temp files of a user, in MiB; of an address ten times as much; 0 is no limit',
  }),
  UPLOADS_PER_ADDRESS: Type.Integer({
    ...range(0, 1_000_000, 20),
    description: 'uploads of an address at the same time; 0 is no limit',
  }),
  CONNECTIONS: Type.Integer({
    ...range(1, 1_000_000, 10_000),
    description: 'open connections of the API process',
  }),
  CONNECTIONS_PER_ADDRESS: Type.Integer({
    ...range(0, 1_000_000, 500),
    description: 'those of an address when there is no `TRUST_PROXY`; 0 is no limit',
  }),
  HEADER_SECONDS: Type.Number({
    ...range(0.1, 600, 15),
    description: 'how long the headers of a request may take',
  }),
  BODY_STALL_SECONDS: Type.Number({
    ...range(0.1, 600, 30),
    description: 'how long a body may come with less than 1 KiB a second',
  }),
};

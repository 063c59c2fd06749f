/** Structured log lines through pino: one JSON object per line, `event` first, no secrets. */
import { type DestinationStream, type Logger, pino } from 'pino';
import { codeOf, messageOf, OperatingError } from '#base/errors.ts';
import type { Log } from '../env.ts';
import { LogStream } from './log-stream.ts';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';

export interface LogOptions {
  readonly level: LogLevel;
  /** A path, a file descriptor (default 1, standard output), or a stream. */
  readonly destination?: string | number | DestinationStream;
  /** In every line: node, role, worker. */
  readonly facts?: Record<string, unknown>;
}

const SECRET_FIELDS = [
  'password',
  'secret',
  'key',
  'token',
  'authorization',
  'secretKey',
  'joinToken',
  'privateKey',
  'signature',
];

const SECRET_PATHS = SECRET_FIELDS.flatMap((name) => [name, `*.${name}`]);

export function createNodeLog(options: LogOptions): Log {
  const { destination = 1 } = options;
  const stream = typeof destination === 'object' ? destination : new LogStream(destination);
  const logger = pino(
    {
      level: options.level,
      base: options.facts ?? {},
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (level) => ({ level }) },
      serializers: { error: describeError, cause: describeError },
      redact: { paths: SECRET_PATHS, censor: '[redacted]' },
    },
    stream,
  );
  return new NodeLog(logger);
}

function describeError(value: unknown): unknown {
  if (!(value instanceof Error)) return value;
  const code = codeOf(value);
  return {
    code,
    message: messageOf(value),
    ...(value instanceof OperatingError && { facts: value.facts }),
    ...(value.cause !== undefined && { cause: messageOf(value.cause) }),
    // An error with a code is an expected one; only a bug needs its stack.
    ...(code === 'internal' && { stack: value.stack }),
  };
}

class NodeLog implements Log {
  readonly #logger: Logger;
  /** Looked up once: a line whose level is off costs one comparison. */
  readonly #debug: boolean;
  readonly #info: boolean;
  readonly #warn: boolean;

  constructor(logger: Logger) {
    this.#logger = logger;
    this.#debug = logger.isLevelEnabled('debug');
    this.#info = logger.isLevelEnabled('info');
    this.#warn = logger.isLevelEnabled('warn');
  }

  debug(event: string, facts?: Record<string, unknown>): void {
    if (this.#debug) this.#logger.debug({ event, ...facts });
  }

  info(event: string, facts?: Record<string, unknown>): void {
    if (this.#info) this.#logger.info({ event, ...facts });
  }

  warn(event: string, facts?: Record<string, unknown>): void {
    if (this.#warn) this.#logger.warn({ event, ...facts });
  }

  error(event: string, facts?: Record<string, unknown>): void {
    this.#logger.error({ event, ...facts });
  }

  with(facts: Record<string, unknown>): Log {
    return new NodeLog(this.#logger.child(facts));
  }
}

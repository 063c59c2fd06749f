/**
 * Amazon's S3 API on raw node:http. A request is located, authenticated, routed to the file of its
 * operation, and answered exactly once: by the operation, or here by the error table. Once the status
 * line is out, an error can only cut the connection, and does.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { codeOf, messageOf } from '#base/errors.ts';
import { DAY_MS, decodeLifecycle } from '#proxy/lifecycle/rules.ts';
import { drain } from '../http/drain.ts';
import { TransactionIds } from '../http/transaction-id.ts';
import { authenticate } from './authentication.ts';
import { PolicyCache } from './bucket-rules.ts';
import { Checksums } from './checksums.ts';
import { addCorsHeaders } from './cors.ts';
import { refuse } from './errors.ts';
import { isS3 } from './is-s3.ts';
import { DEFAULT_S3_LIMITS, type S3Limits } from './limits.ts';
import { ParsedTexts } from './parsed-texts.ts';
import { replyError } from './reply.ts';
import { S3Request } from './request.ts';
import { findRoute } from './router.ts';
import type { S3Service } from './service.ts';

export type { S3Service, S3Signers } from './service.ts';

export interface S3Options
  extends Pick<S3Service, 'store' | 'signers' | 'names' | 'env' | 'region'>,
    Partial<Pick<S3Service, 'roles' | 'domains' | 'finished' | 'dayMs'>> {
  readonly limits?: Partial<S3Limits>;
}

export interface S3Handler {
  /** Whether a request is this dialect's; what nobody else knows is, too. */
  matches(incoming: IncomingMessage): boolean;
  /** For `request` and `checkContinue` alike. Never rejects. */
  handle(incoming: IncomingMessage, response: ServerResponse): Promise<void>;
}

export async function createS3Handler(given: S3Options): Promise<S3Handler> {
  const service: S3Service = {
    roles: undefined,
    domains: [],
    finished: () => {},
    dayMs: DAY_MS,
    ...given,
    checksums: await Checksums.create(),
    policies: new PolicyCache(),
    lifecycles: new ParsedTexts(decodeLifecycle),
    limits: { ...DEFAULT_S3_LIMITS, ...given.limits },
    requestIds: new TransactionIds(given.env),
  };
  return {
    matches: (incoming) => isS3(incoming, service.domains),
    handle: (incoming, response) => handle(service, incoming, response),
  };
}

async function handle(
  service: S3Service,
  incoming: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const started = service.env.clock.monotonicMs();
  const request = new S3Request(service, incoming, response);
  try {
    await serve(request);
  } catch (error) {
    fail(request, error);
  }
  if (!incoming.complete) drain(request);
  service.finished({
    txn: request.txn,
    operation: request.label,
    method: request.method,
    path: request.path,
    status: response.statusCode,
    elapsedMs: service.env.clock.monotonicMs() - started,
    bytesReceived: request.bytesReceived,
    bytesSent: request.bytesSent,
  });
}

async function serve(request: S3Request): Promise<void> {
  if (request.incoming.rawHeaders.length > 2 * request.service.limits.maxHeaderCount) {
    throw refuse('InvalidRequest', 'Too many headers');
  }
  request.locate();
  const route = findRoute(request);
  request.label = `s3.${route.name}`;
  await authenticate(request);
  await addCorsHeaders(request);
  await route.run(request);
}

/** The one place where an error becomes an answer. */
function fail(request: S3Request, error: unknown): void {
  const { response, service } = request;
  const facts = { txn: request.txn, operation: request.label, code: codeOf(error) };
  if (response.headersSent || response.destroyed) {
    // Half an answer must not look like a whole one.
    response.destroy();
    if (facts.code !== 'client-gone') {
      service.env.log.warn('s3.broken-off', { ...facts, message: messageOf(error) });
    }
    return;
  }
  const status = replyError(request, error);
  if (status < 500) return;
  const known = status !== 500;
  const level = known ? 'warn' : 'error';
  const stack = known || !(error instanceof Error) ? undefined : error.stack;
  service.env.log[level]('s3.failed', { ...facts, status, message: messageOf(error), stack });
}

/**
 * Amazon's S3 API on raw node:http. A request is located, authenticated and routed to the file of its
 * operation; `answer` sees to it that it is answered exactly once.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { PolicyCache } from '#auth/policy/policy-cache.ts';
import type { Tenant } from '#proxy/fairness/fairness.ts';
import { DAY_MS, decodeLifecycle } from '#proxy/lifecycle/rules.ts';
import { answer, type Dialect } from '../http/answer.ts';
import { originBehind } from '../http/origin.ts';
import { TransactionIds } from '../http/transaction-id.ts';
import { inTurn } from '../http/turn.ts';
import { AccessLog } from './access-log.ts';
import { authenticate } from './authentication.ts';
import { ownAccount } from './bucket.ts';
import { Checksums } from './checksums.ts';
import { refuseConditions } from './conditions.ts';
import { addCorsHeaders } from './cors.ts';
import { refuse } from './errors.ts';
import { isS3 } from './is-s3.ts';
import { DEFAULT_S3_LIMITS, type S3Limits } from './limits.ts';
import { ParsedTexts } from './parsed-texts.ts';
import { replyError } from './reply.ts';
import { S3Request } from './request.ts';
import { findRoute } from './router.ts';
import type { S3Service } from './service.ts';
import { serveWebsite } from './website-endpoint.ts';
import { decodeWebsite } from './website-rules.ts';

export type { S3Service, S3Signers } from './service.ts';

export interface S3Options
  extends Pick<S3Service, 'store' | 'signers' | 'names' | 'env' | 'region'>,
    Partial<
      Pick<
        S3Service,
        | 'roles'
        | 'domains'
        | 'websiteDomains'
        | 'finished'
        | 'dayMs'
        | 'originOf'
        | 'mayNotify'
        | 'fairness'
      >
    > {
  readonly limits?: Partial<S3Limits>;
}

export interface S3Handler {
  /** Whether a request is this dialect's; what nobody else knows is, too. */
  matches(incoming: IncomingMessage): boolean;
  /** For `request` and `checkContinue` alike. Never rejects. */
  handle(incoming: IncomingMessage, response: ServerResponse): Promise<void>;
  /** Writes what is left of access logs. */
  close(): Promise<void>;
}

const DIALECT: Dialect<S3Request> = { name: 's3', serve, replyError };

export async function createS3Handler(given: S3Options): Promise<S3Handler> {
  const service: S3Service = {
    roles: undefined,
    domains: () => [],
    websiteDomains: () => [],
    finished: () => {},
    dayMs: DAY_MS,
    originOf: originBehind([]),
    mayNotify: () => false,
    fairness: undefined,
    ...given,
    checksums: await Checksums.create(),
    policies: new PolicyCache(),
    lifecycles: new ParsedTexts(decodeLifecycle),
    websites: new ParsedTexts(decodeWebsite),
    limits: { ...DEFAULT_S3_LIMITS, ...given.limits },
    requestIds: new TransactionIds(given.env),
  };
  const accessLog = new AccessLog(service);
  return {
    matches: (incoming) => isS3(incoming, [...service.domains(), ...service.websiteDomains()]),
    handle: async (incoming, response) => {
      const { clock } = service.env;
      const started = clock.monotonicMs();
      const request = new S3Request(service, incoming, response);
      await answer(request, DIALECT);
      accessLog.add(request, clock.monotonicMs() - started);
    },
    close: () => accessLog.flush(),
  };
}

async function serve(request: S3Request): Promise<void> {
  if (request.incoming.rawHeaders.length > 2 * request.service.limits.maxHeaderCount) {
    throw refuse('InvalidRequest', 'Too many headers');
  }
  request.locate();
  if (request.isWebsite && request.method !== 'OPTIONS') {
    await addCorsHeaders(request);
    return await inTurn(request, tenantOf(request), () => serveWebsite(request));
  }
  const route = findRoute(request);
  request.label = `s3.${route.name}`;
  if (isWrite(request) && !DECIDES.has(route.name)) refuseConditions(request);
  await authenticate(request);
  await addCorsHeaders(request);
  await inTurn(request, tenantOf(request), () => route.run(request));
}

/** Operations that look at If-Match and the like themselves. */
const DECIDES: ReadonlySet<string> = new Set([
  ...['PutObject', 'CopyObject', 'DeleteObject'],
  ...['CreateMultipartUpload', 'CompleteMultipartUpload'],
]);

function isWrite({ method }: S3Request): boolean {
  return method === 'PUT' || method === 'POST' || method === 'DELETE';
}

function tenantOf(request: S3Request): Tenant {
  return { account: ownAccount(request), of: request.bucket };
}

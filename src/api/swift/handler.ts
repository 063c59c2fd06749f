/**
 * OpenStack Swift's API on raw node:http. A request is located, authenticated and routed to the file of its
 * operation; `answer` sees to it that it is answered exactly once.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { RoleLists } from '#auth/acl.ts';
import { accountOf } from '#auth/caller.ts';
import type { Env } from '#env/env.ts';
import type { Tenant } from '#proxy/fairness/fairness.ts';
import type { VersionedStore } from '#proxy/versions/contract.ts';
import { answer, type Dialect } from '../http/answer.ts';
import type { FinishedRequest } from '../http/finished-request.ts';
import { originBehind } from '../http/origin.ts';
import { TransactionIds } from '../http/transaction-id.ts';
import { inTurn } from '../http/turn.ts';
import { byteLength } from '../http/utf8.ts';
import { addCorsHeaders } from './cors.ts';
import { refuse } from './errors.ts';
import { info } from './info.ts';
import { DEFAULT_LIMITS, type SwiftLimits } from './limits.ts';
import { checkHeaders } from './metadata.ts';
import { methodNotAllowed } from './methods.ts';
import { refuseNotOffered } from './not-offered.ts';
import { options } from './options.ts';
import { reply, replyError } from './reply.ts';
import { SwiftRequest } from './request.ts';
import { findRoute, resourceOf } from './router.ts';
import type { SwiftService } from './service.ts';
import { isTempUrl, openTempUrl } from './temp-url.ts';

export type { FinishedRequest } from '../http/finished-request.ts';

export interface SwiftOptions {
  readonly store: VersionedStore;
  readonly authenticator: SwiftService['authenticator'];
  readonly env: Pick<Env, 'clock' | 'random' | 'log'>;
  readonly roles?: RoleLists;
  readonly limits?: Partial<SwiftLimits>;
  /** PUT and DELETE of accounts for reseller admins. */
  readonly accountManagement?: boolean;
  readonly clusterName?: string;
  readonly version?: string;
  /** What /healthcheck says: false is 503. */
  readonly healthy?: () => boolean;
  readonly names?: SwiftService['names'];
  readonly fairness?: SwiftService['fairness'];
  /** Absent: no balancer is trusted. */
  readonly originOf?: SwiftService['originOf'];
  /** Called when a request is over, for metrics and traces. */
  readonly finished?: (request: FinishedRequest) => void;
}

export interface SwiftHandler {
  /** Whether a raw request target is this dialect's. */
  matches(url: string): boolean;
  /**
   * For `request` and `checkContinue` alike (the server must listen to both): `100 Continue` is
   * sent when the write can start. Never rejects.
   */
  handle(incoming: IncomingMessage, response: ServerResponse): Promise<void>;
}

const OURS =
  /^(?:https?:\/\/[^/?]*)?\/(?:v1(?:\.0)?(?:[/?]|$)|info(?:[?]|$)|healthcheck(?:[?]|$))/i;

const DIALECT: Dialect<SwiftRequest> = { name: 'swift', serve, replyError };

export function createSwiftHandler(given: SwiftOptions): SwiftHandler {
  const service: SwiftService = {
    store: given.store,
    authenticator: given.authenticator,
    env: given.env,
    roles: given.roles,
    limits: { ...DEFAULT_LIMITS, ...given.limits },
    transactionIds: new TransactionIds(given.env),
    accountManagement: given.accountManagement ?? false,
    clusterName: given.clusterName ?? 'anello',
    version: given.version ?? '0',
    healthy: given.healthy ?? (() => true),
    names: given.names,
    fairness: given.fairness,
    originOf: given.originOf ?? originBehind([]),
    finished: given.finished ?? (() => {}),
  };
  return {
    matches: (url) => OURS.test(url),
    handle: (incoming, response) => answer(new SwiftRequest(service, incoming, response), DIALECT),
  };
}

async function serve(request: SwiftRequest): Promise<void> {
  if (request.path === '/info') return info(request);
  if (request.path === '/healthcheck') return healthcheck(request);
  checkHeaders(request);
  const target = request.locate();
  const resource = resourceOf(target);
  checkAccount(request);
  if (request.method === 'OPTIONS') return await options(request, resource);
  if (request.header('origin') !== undefined) await addCorsHeaders(request);
  const route = findRoute(request.method, resource, request.query.has('bulk-delete'));
  if (route === undefined) {
    throw methodNotAllowed(resource, request.service.accountManagement);
  }
  refuseNotOffered(request, resource);
  request.label = route.label;
  const hasTempUrl = resource === 'object' && isTempUrl(request);
  if (!hasTempUrl) {
    request.caller = await request.service.authenticator.authenticate(request.incoming.headers);
  }
  await inTurn(request, tenantOf(request), async () => {
    if (hasTempUrl) request.tempUrl = await openTempUrl(request);
    await route.run(request);
  });
}

function tenantOf({ caller, account }: SwiftRequest): Tenant {
  const own = caller.kind === 'user' ? caller.projectId : undefined;
  return { account: own === undefined ? undefined : accountOf(own), of: account };
}

function checkAccount(request: SwiftRequest): void {
  const limit = request.service.limits.maxAccountNameBytes;
  const length = byteLength(request.account);
  if (length > limit) {
    throw refuse('bad-request', `Account name length of ${length} longer than ${limit}`);
  }
}

function healthcheck(request: SwiftRequest): void {
  const healthy = request.service.healthy();
  const headers = ['Content-Type', 'text/plain; charset=UTF-8'];
  reply(request, healthy ? 200 : 503, headers, healthy ? 'OK' : 'NOT READY');
}

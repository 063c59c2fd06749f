/**
 * The identity API: Keystone v3, and v1 for old Swift clients. A plain fetch handler: `main` serves
 * it on identity's own port and on every proxy's.
 */
import { type Context, Hono } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { OperatingError } from '#base/errors.ts';
import type { Log } from '#env/env.ts';
import type { Grid } from '#identity/grid.ts';
import type { Identity } from '#identity/identity.ts';
import type { WebLogIns } from '#identity/web-log-ins.ts';
import { type Hop, type OriginOf, originBehind } from '../http/origin.ts';
import { AllowedMethods } from './allowed-methods.ts';
import { KeystoneApi } from './api.ts';
import { applicationCredentialRoutes } from './application-credentials.ts';
import { assignmentRoutes } from './assignments.ts';
import { Catalogue, type CatalogueSite } from './catalogue.ts';
import { credentialRoutes } from './credentials.ts';
import { discoveryRoutes } from './discovery.ts';
import { domainRoutes } from './domains.ts';
import { enrolmentRoutes } from './enrolments.ts';
import { errorResponse } from './errors.ts';
import { groupRoutes } from './groups.ts';
import { iamRoutes } from './iam.ts';
import { peerChainOf, socketOf } from './peer-chain.ts';
import { projectRoutes } from './projects.ts';
import { regionRoutes } from './regions.ts';
import { roleRoutes } from './roles.ts';
import { s3KeyRoutes } from './s3-keys.ts';
import { s3TokenRoutes } from './s3-tokens.ts';
import { serviceRoutes } from './services.ts';
import { stsRoutes } from './sts.ts';
import { tokenRoutes } from './tokens.ts';
import { trustRoutes } from './trusts.ts';
import { type ProjectUsage, usageRoutes } from './usage.ts';
import { userRoutes } from './users.ts';
import { v1AuthRoutes } from './v1-auth.ts';

const MAX_BODY_BYTES = 112 * 1024;

export interface KeystoneAppOptions {
  readonly identity: Identity;
  readonly log: Log;
  /** The cluster's services, one entry per site. */
  readonly sites: () => readonly CatalogueSite[];
  /**
   * The site whose proxy was asked, when it came through a proxy: first in catalogues, and v1's
   * storage URL. Default: the first site.
   */
  readonly homeRegion?: (request: Request) => string | undefined;
  /** `http://host:port` as the client sees this API. Default: from the Host header. */
  readonly baseUrl?: (request: Request) => string;
  /** Where requests come from, past our own balancers. Default: what the socket says. */
  readonly originOf?: OriginOf;
  /** Log-in by TLS client certificate (method `external`), on ports whose server asks for one. */
  readonly grid?: Grid;
  /** What a project holds; absent: there is no object store in this process. */
  readonly usage?: (projectId: string) => Promise<ProjectUsage>;
  /** Web identity tokens, for POST /sts. */
  readonly web?: WebLogIns;
}

export function createKeystoneApp(options: KeystoneAppOptions): Hono {
  const { identity, log, sites } = options;
  const { baseUrl = baseUrlOf, originOf = originBehind([]) } = options;
  const api = new KeystoneApi({
    identity,
    log,
    catalogue: new Catalogue(sites),
    baseUrl: (c) => baseUrl(c.req.raw),
    homeRegion: (c) => options.homeRegion?.(c.req.raw),
    address: (c) => originOf(hopOf(c)).address,
    grid: options.grid,
    peerChain: peerChainOf,
    web: options.web,
    usage: options.usage,
  });
  const app = new Hono();
  const tooLarge = () => {
    throw new OperatingError('too-large', 'The request is too large.');
  };
  app.use(bodyLimit({ maxSize: MAX_BODY_BYTES, onError: tooLarge }));
  for (const routes of [
    discoveryRoutes,
    tokenRoutes,
    v1AuthRoutes,
    domainRoutes,
    projectRoutes,
    userRoutes,
    groupRoutes,
    roleRoutes,
    assignmentRoutes,
    credentialRoutes,
    applicationCredentialRoutes,
    serviceRoutes,
    regionRoutes,
    s3TokenRoutes,
    s3KeyRoutes,
    iamRoutes,
    stsRoutes,
    trustRoutes,
    enrolmentRoutes,
    usageRoutes,
  ]) {
    app.route('/', routes(api));
  }
  const methods = new AllowedMethods(app);
  app.notFound((c) => {
    const allowed = methods.of(c.req.path);
    if (allowed.length > 0) c.header('Allow', allowed.join(', '));
    return fail(c, allowed.length > 0 ? methodNotAllowed() : noSuchResource());
  });
  app.onError((error, c) => fail(c, error));
  const fail = (c: Context, error: unknown) => errorResponse(c, error, log, api.url(c, ''));
  return app;
}

function methodNotAllowed(): OperatingError {
  const what = 'The method is not allowed for the requested URL.';
  return new OperatingError('method-not-allowed', what);
}

function noSuchResource(): OperatingError {
  return new OperatingError('not-found', 'Could not find the resource.');
}

function baseUrlOf(request: Request): string {
  return new URL(request.url).origin;
}

function hopOf(c: Context): Hop {
  const socket = socketOf(c);
  const isSecure = socket !== undefined && 'encrypted' in socket;
  return { address: socket?.remoteAddress, isSecure, header: (name) => c.req.header(name) };
}

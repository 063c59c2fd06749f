/**
 * The authority's HTTP API, version 1. JSON in and out, every input checked by a schema, every refusal
 * as `{code, message}` with a status from one table. Reads are answered by any authority; what changes
 * something is answered by the leader, others say where it is (307).
 *
 *   who       call
 *   anybody   GET /healthcheck   GET /v1/ca   POST /v1/join (a token)
 *   nodes     GET /v1/bundle?have=N   GET /v1/directory?have=N   POST /v1/reports   POST /v1/certificate
 *             POST /v1/disks
 *   operators everything below /v1: see the routes
 */
import { type Context, Hono, type MiddlewareHandler } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { z } from 'zod';
import { codeOf, messageOf, OperatingError } from '#base/errors.ts';
import type { Log } from '#env/env.ts';
import type { Authority } from './authority.ts';
import { encryptionRoutes, type ObjectKeyStore } from './encryption-routes.ts';
import { type AuthorityHono, badInput, input, type Variables } from './http-input.ts';
import { joinSchema, moreDisksSchema } from './membership.ts';
import { operatorRoutes } from './operator-routes.ts';
import { type Credentials, type Known, type Principal, principalOf } from './principal.ts';
import { readBundle } from './publisher.ts';
import { reportSchema } from './reports.ts';

export interface AppOptions {
  readonly authority: Authority;
  readonly log: Log;
  readonly credentials: (context: Context) => Credentials;
  readonly nodeSecret: string | undefined;
  /** What a node with these roles must know besides: handed out at joining, over TLS only. */
  readonly secrets: (roles: readonly string[]) => Record<string, string>;
  /** Identity's directory above a revision, signed: for proxies that state does not reach. */
  readonly directory: (above: number) => Promise<Buffer | undefined>;
  readonly objectKeys: ObjectKeyStore;
}

const MAX_BODY_BYTES = 20 * 1024 * 1024;
const MAX_JOIN_BYTES = 256 * 1024;

export function createAuthorityApp(options: AppOptions): AuthorityHono {
  const app: AuthorityHono = new Hono();
  app.onError((error, context) => failure(context, error, options.log));
  app.notFound((context) => context.json({ code: 'unknown-path', message: 'unknown path' }, 404));
  app.get('/healthcheck', (context) => context.text('OK'));
  openRoutes(app, options);
  app.use('/v1/*', bodyLimit({ maxSize: MAX_BODY_BYTES, onError: tooLarge }));
  app.use('/v1/*', authenticate(options));
  nodeRoutes(app, options);
  app.use('/v1/*', operatorsOnly, toLeader(options));
  operatorRoutes(app, options.authority);
  encryptionRoutes(app, options.objectKeys);
  return app;
}

function openRoutes(app: AuthorityHono, { authority, secrets }: AppOptions): void {
  app.get('/v1/ca', async (context) => {
    const { certificate } = await authority.store.certificateAuthority();
    return context.text(certificate, 200, { 'content-type': 'application/x-pem-file' });
  });
  app.post(
    '/v1/join',
    bodyLimit({ maxSize: MAX_JOIN_BYTES, onError: tooLarge }),
    async (context) => {
      const membership = await authority.members.join(await input(context, joinSchema));
      return context.json({ ...membership, secrets: secrets(membership.roles) }, 201);
    },
  );
}

function nodeRoutes(app: AuthorityHono, { authority, directory }: AppOptions): void {
  app.get('/v1/bundle', async (context) =>
    newer(context, await readBundle(authority.state, haveOf(context))),
  );
  app.get('/v1/directory', async (context) => newer(context, await directory(haveOf(context))));
  app.post('/v1/reports', async (context) => {
    const report = await input(context, reportSchema);
    requireSelf(context.var.principal, report.process);
    await authority.reports.note(report);
    return context.body(null, 204);
  });
  app.post('/v1/disks', async (context) => {
    const { disks } = await input(context, moreDisksSchema);
    const { principal } = context.var;
    if (principal.kind !== 'node' || principal.name === undefined)
      throw new OperatingError('forbidden', 'only a node tells of its disks');
    return context.json(await authority.members.addDisks(principal.name, disks));
  });
  app.post('/v1/certificate', async (context) => {
    const { request } = await input(
      context,
      z.object({ request: z.string().max(16_384) }).strict(),
    );
    const { principal } = context.var;
    if (principal.kind !== 'node' || principal.name === undefined)
      throw new OperatingError('forbidden', 'only a node renews its certificate');
    return context.json(await authority.members.renew(principal.name, request));
  });
}

function haveOf(context: Context): number {
  const have = Number(context.req.query('have') ?? '0');
  if (!Number.isSafeInteger(have) || have < 0) throw badInput('have: a version number');
  return have;
}

function newer(context: Context, bytes: Buffer | undefined): Response {
  if (bytes === undefined) return context.body(null, 204);
  return context.body(new Uint8Array(bytes), 200, { 'content-type': 'application/octet-stream' });
}

/** A node tells of its own processes only. */
function requireSelf(principal: Principal, process: string): void {
  if (principal.kind !== 'node') throw new OperatingError('forbidden', 'only nodes report');
  const node = process.split('/', 1)[0];
  if (principal.name === undefined || principal.name === node) return;
  throw new OperatingError('forbidden', `${principal.name} is not ${node}`);
}

function authenticate({ authority, credentials, nodeSecret }: AppOptions) {
  const middleware: MiddlewareHandler<{ Variables: Variables }> = async (context, next) => {
    const { clusterId, operatorHash } = await authority.store.knownCluster();
    const shown = credentials(context);
    const revoked = shown.certificate === undefined ? new Set() : await authority.members.revoked();
    const known: Known = {
      clusterId,
      operatorHash,
      nodeSecret,
      isRevoked: (node, serial) => revoked.has(node) || revoked.has(serial),
    };
    const principal = principalOf(known, shown);
    if (principal === undefined)
      throw new OperatingError(
        'unauthorized',
        'a token or a certificate of this cluster is needed',
      );
    context.set('principal', principal);
    await next();
  };
  return middleware;
}

const operatorsOnly: MiddlewareHandler<{ Variables: Variables }> = async (context, next) => {
  if (context.var.principal.kind !== 'operator')
    throw new OperatingError('forbidden', 'this is for operators');
  await next();
};

function toLeader({ authority }: AppOptions) {
  const middleware: MiddlewareHandler<{ Variables: Variables }> = async (context, next) => {
    const other = context.req.method === 'GET' ? undefined : await authority.leadership.other();
    if (other === undefined) return next();
    const { pathname, search } = new URL(context.req.url);
    return context.redirect(`${other}${pathname}${search}`, 307);
  };
  return middleware;
}

function tooLarge(context: Context): Response {
  return context.json({ code: 'too-large', message: 'the body is too large' }, 413);
}

const STATUS: Readonly<Record<string, 400 | 401 | 403 | 404 | 409 | 503>> = {
  'bad-input': 400,
  'bad-document': 400,
  'bad-description': 400,
  'bad-request': 400,
  'bad-ring-settings': 400,
  'wrong-use': 400,
  'no-devices': 400,
  'too-many-devices': 400,
  'too-many-nodes': 409,
  'not-balanced': 409,
  'state-limit': 409,
  unauthorized: 401,
  'bad-token': 401,
  forbidden: 403,
  'not-a-member': 404,
  'unknown-device': 404,
  'unknown-site': 404,
  'unknown-ring': 404,
  'unknown-key': 404,
  'name-taken': 409,
  'stale-plan': 409,
  'ring-at-risk': 409,
  'ring-in-use': 409,
  'change-under-way': 409,
  'duplicate-device': 409,
  'nothing-to-undo': 409,
  'cannot-undo': 409,
  'state-busy': 503,
  'state-unavailable': 503,
  'no-authority': 503,
};

function failure(context: Context, error: unknown, log: Log): Response {
  const code = codeOf(error);
  const status = error instanceof OperatingError ? STATUS[code] : undefined;
  if (status === undefined) {
    log.error('authority.request-failed', {
      path: context.req.path,
      code,
      reason: messageOf(error),
    });
    return context.json({ code: 'internal', message: 'internal error' }, 500);
  }
  return context.json({ code, message: messageOf(error) }, status);
}

/**
 * S3 key pairs and other credentials: `/v3/users/ID/credentials/OS-EC2`, `/v3/credentials`. A user
 * manages their own; an administrator everybody's.
 */
import { type Context, Hono } from 'hono';
import { z } from 'zod';
import { OperatingError } from '#base/errors.ts';
import type { KeyPair, OpenCredential } from '#identity/credentials.ts';
import { idSchema } from '#identity/id.ts';
import type { VerifiedToken } from '#identity/token-verifier.ts';
import {
  isAdmin,
  isDelegated,
  type KeystoneApi,
  notAuthorized,
  nullable,
  pathId,
  readBody,
} from './api.ts';
import { Renderer } from './render.ts';

const newKeyPair = z.object({
  tenant_id: idSchema,
  /** Ours, beyond Keystone: bring your own. */
  access: z.string().max(128).optional(),
  secret: z.string().max(128).optional(),
});
const newCredential = z.object({
  credential: z.object({
    type: z.string().min(1).max(255),
    blob: z.string().max(16_384),
    user_id: idSchema.optional(),
    project_id: nullable(idSchema).optional(),
  }),
});

const changedCredential = z.object({
  credential: z.object({
    type: z.string().min(1).max(255).optional(),
    blob: z.string().max(16_384).optional(),
  }),
});

export function credentialRoutes(api: KeystoneApi): Hono {
  return keyPairRoutes(api).route('/', blobRoutes(api));
}

function keyPairRoutes(api: KeystoneApi): Hono {
  const app = new Hono();
  const base = '/v3/users/:id/credentials/OS-EC2';
  const { credentials, scopes } = api.identity;
  const renderer = new Renderer(api);
  const render = (c: Context, pair: KeyPair) => ({
    ...{ access: pair.access, secret: pair.secret, user_id: pair.userId },
    ...{ tenant_id: pair.projectId, trust_id: null },
    links: { self: api.url(c, `/users/${pair.userId}/credentials/OS-EC2/${pair.access}`) },
  });
  const find = async (c: Context, userId: string): Promise<KeyPair> => {
    const pair = await credentials.keyPair(c.req.param('access') ?? '');
    if (pair?.userId !== userId)
      throw new OperatingError('not-found', 'Could not find credential.');
    return pair;
  };

  app.get(base, async (c) => {
    const userId = pathId(c, 'id', 'user');
    api.selfOrAdmin(c, userId);
    const pairs = await credentials.keyPairsOf(userId);
    return renderer.list(
      c,
      'credentials',
      pairs.map((pair) => render(c, pair)),
    );
  });

  app.post(base, async (c) => {
    const userId = pathId(c, 'id', 'user');
    const caller = api.selfOrAdmin(c, userId);
    mustBeInPerson(caller);
    const { tenant_id: projectId, access, secret } = await readBody(c, newKeyPair);
    const roles = await scopes.effectiveRoles(userId, { kind: 'project', id: projectId });
    if (roles.size === 0) throw notAuthorized();
    const pair = await credentials.createKeyPair({ userId, projectId, access, secret });
    api.audit(caller, 'key.create', { access: pair.access, userId, projectId });
    return c.json({ credential: render(c, pair) }, 201);
  });

  app.get(`${base}/:access`, async (c) => {
    const userId = pathId(c, 'id', 'user');
    api.selfOrAdmin(c, userId);
    return c.json({ credential: render(c, await find(c, userId)) });
  });

  app.delete(`${base}/:access`, async (c) => {
    const userId = pathId(c, 'id', 'user');
    const caller = api.selfOrAdmin(c, userId);
    const { credentialId, access } = await find(c, userId);
    await credentials.remove(credentialId);
    api.audit(caller, 'key.delete', { access, userId });
    return c.body(null, 204);
  });
  return app;
}

function blobRoutes(api: KeystoneApi): Hono {
  const app = new Hono();
  const { credentials } = api.identity;
  const renderer = new Renderer(api);
  const render = (c: Context, credential: OpenCredential) => ({
    ...{ id: credential.id, type: credential.type, blob: credential.blob },
    ...{ user_id: credential.userId, project_id: credential.projectId ?? null },
    links: { self: api.url(c, `/credentials/${credential.id}`) },
  });
  const find = async (c: Context): Promise<OpenCredential> => {
    const caller = api.caller(c);
    const id = c.req.param('id') ?? '';
    if (!/^[0-9a-f]{32,64}$/.test(id))
      throw new OperatingError('not-found', 'Could not find credential.');
    const credential = await credentials.get(id);
    if (credential.userId !== caller.user.id && !isAdmin(caller)) throw notAuthorized();
    return credential;
  };

  app.get('/v3/credentials', async (c) => {
    const caller = api.caller(c);
    const [type, userId] = [c.req.query('type'), c.req.query('user_id')];
    const found = (await credentials.list()).filter(
      (credential) =>
        (isAdmin(caller) || credential.userId === caller.user.id) &&
        (type === undefined || credential.type === type) &&
        (userId === undefined || credential.userId === userId),
    );
    return renderer.list(
      c,
      'credentials',
      found.map((credential) => render(c, credential)),
    );
  });

  app.post('/v3/credentials', async (c) => {
    const caller = api.caller(c);
    mustBeInPerson(caller);
    const { credential: wanted } = await readBody(c, newCredential);
    const { type, blob, user_id: userId = caller.user.id, project_id: projectId } = wanted;
    if (userId !== caller.user.id && !isAdmin(caller)) throw notAuthorized();
    if (projectId !== undefined) {
      const roles = await api.identity.scopes.effectiveRoles(userId, {
        kind: 'project',
        id: projectId,
      });
      if (roles.size === 0) throw notAuthorized();
    }
    const credential = await credentials.create({ type, blob, userId, projectId });
    api.audit(caller, 'credential.create', { id: credential.id, type, userId });
    return c.json({ credential: render(c, credential) }, 201);
  });

  app.get('/v3/credentials/:id', async (c) => c.json({ credential: render(c, await find(c)) }));

  app.patch('/v3/credentials/:id', async (c) => {
    const { id } = await find(c);
    const caller = api.caller(c);
    mustBeInPerson(caller);
    const { credential: change } = await readBody(c, changedCredential);
    const credential = await credentials.update(id, change);
    api.audit(caller, 'credential.update', { id });
    return c.json({ credential: render(c, credential) });
  });

  app.delete('/v3/credentials/:id', async (c) => {
    const { id } = await find(c);
    await credentials.remove(id);
    api.audit(api.caller(c), 'credential.delete', { id });
    return c.body(null, 204);
  });
  return app;
}

function mustBeInPerson(caller: VerifiedToken): void {
  if (isDelegated(caller)) throw notAuthorized();
}

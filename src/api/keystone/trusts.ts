/** /v3/OS-TRUST/trusts: seen by trustor, trustee and administrators, made and ended by the trustor. */
import { type Context, Hono } from 'hono';
import { z } from 'zod';
import { OperatingError } from '#base/errors.ts';
import { idSchema, nameSchema } from '#identity/id.ts';
import type { Trust } from '#identity/records.ts';
import {
  isAdmin,
  isDelegated,
  isoTime,
  type KeystoneApi,
  notAuthorized,
  nullable,
  parseTime,
  pathId,
  readBody,
} from './api.ts';
import { Renderer } from './render.ts';

const newTrust = z.object({
  trust: z.object({
    trustor_user_id: idSchema,
    trustee_user_id: idSchema,
    project_id: nullable(idSchema).optional(),
    roles: z
      .array(z.union([z.object({ id: idSchema }), z.object({ name: nameSchema })]))
      .max(64)
      .default([]),
    impersonation: z.boolean(),
    expires_at: nullable(z.string().max(64)).optional(),
    remaining_uses: nullable(z.number().int().positive()).optional(),
    allow_redelegation: nullable(z.boolean()).optional(),
    redelegation_count: nullable(z.number().int().nonnegative()).optional(),
  }),
});

export function trustRoutes(api: KeystoneApi): Hono {
  const app = new Hono();
  const base = '/v3/OS-TRUST/trusts';
  const renderer = new Renderer(api);
  const { trusts, roles } = api.identity;

  const render = async (c: Context, trust: Trust) => {
    const all = await Promise.all(trust.roleIds.map((id) => roles.get(id)));
    return {
      ...{ id: trust.id, trustor_user_id: trust.trustorId, trustee_user_id: trust.trusteeId },
      ...{ project_id: trust.projectId ?? null, impersonation: trust.impersonation },
      ...{ remaining_uses: trust.remainingUses ?? null, deleted_at: null },
      redelegation_count: trust.redelegationCount,
      redelegated_trust_id: trust.redelegatedTrustId ?? null,
      expires_at: trust.expiresMs === undefined ? null : isoTime(trust.expiresMs),
      roles: all.map((role) => renderer.role(c, role)),
      roles_links: {
        self: api.url(c, `/OS-TRUST/trusts/${trust.id}/roles`),
        next: null,
        previous: null,
      },
      links: { self: api.url(c, `/OS-TRUST/trusts/${trust.id}`) },
    };
  };
  const visible = async (c: Context): Promise<Trust> => {
    const caller = api.caller(c);
    const trust = await trusts.get(pathId(c, 'id', 'trust'));
    const concerned = [trust.trustorId, trust.trusteeId].includes(caller.user.id);
    if (!concerned && !isAdmin(caller)) throw notAuthorized();
    return trust;
  };

  app.get(base, async (c) => {
    const caller = api.caller(c);
    const [trustor, trustee] = [c.req.query('trustor_user_id'), c.req.query('trustee_user_id')];
    const mine = [trustor, trustee].includes(caller.user.id);
    if (!mine && !isAdmin(caller)) throw notAuthorized();
    const found = (await trusts.list()).filter(
      (trust) =>
        (trustor === undefined || trust.trustorId === trustor) &&
        (trustee === undefined || trust.trusteeId === trustee),
    );
    return renderer.list(c, 'trusts', await Promise.all(found.map((trust) => render(c, trust))));
  });

  app.post(base, async (c) => {
    const caller = api.caller(c);
    const { trust: wanted } = await readBody(c, newTrust);
    const parentId = caller.fields.trustId;
    const parent = parentId === undefined ? undefined : await trusts.get(parentId);
    if (caller.user.id !== wanted.trustor_user_id) throw notAuthorized();
    if (parent === undefined && isDelegated(caller)) throw notAuthorized();
    const projectId = wanted.project_id;
    if (projectId !== undefined && caller.project?.id !== projectId) throw notAuthorized();
    const roleIds = wanted.roles.map((role) => {
      const own = caller.roles.find(({ id, name }) =>
        'id' in role ? role.id === id : role.name === name,
      );
      if (own === undefined)
        throw new OperatingError('forbidden', 'A role that the trustor does not have.');
      return own.id;
    });
    const trust = await trusts.create({
      ...{
        trustorId: wanted.trustor_user_id,
        trusteeId: wanted.trustee_user_id,
        projectId,
        roleIds,
      },
      ...{ impersonation: wanted.impersonation, remainingUses: wanted.remaining_uses },
      expiresMs: parseTime(api, wanted.expires_at),
      allowRedelegation: wanted.allow_redelegation,
      redelegationCount: wanted.redelegation_count,
      parent,
    });
    api.audit(caller, 'trust.create', { id: trust.id, trustee: trust.trusteeId });
    return c.json({ trust: await render(c, trust) }, 201);
  });

  app.get(`${base}/:id`, async (c) => c.json({ trust: await render(c, await visible(c)) }));

  app.get(`${base}/:id/roles`, async (c) => {
    const { roleIds } = await visible(c);
    const all = await Promise.all(roleIds.map((id) => roles.get(id)));
    return renderer.list(
      c,
      'roles',
      all.map((role) => renderer.role(c, role)),
    );
  });

  app.get(`${base}/:id/roles/:role`, async (c) => {
    const { roleIds } = await visible(c);
    const id = pathId(c, 'role', 'role');
    if (!roleIds.includes(id)) throw new OperatingError('not-found', 'Could not find role.');
    return c.json({ role: renderer.role(c, await roles.get(id)) });
  });

  app.delete(`${base}/:id`, async (c) => {
    const trust = await visible(c);
    const caller = api.caller(c);
    if (caller.user.id !== trust.trustorId && !isAdmin(caller)) throw notAuthorized();
    await trusts.remove(trust.id);
    api.audit(caller, 'trust.delete', { id: trust.id });
    return c.body(null, 204);
  });
  return app;
}

/**
 * Who has which role where: PUT/HEAD/GET/DELETE of
 * `/v3/{projects|domains}/ID/{users|groups}/ID/roles/ID`, the same for the system and (under
 * OS-INHERIT) for all projects of a domain or below a project; and `/v3/role_assignments`.
 */
import { type Context, Hono } from 'hono';
import { OperatingError } from '#base/errors.ts';
import type { Actor, Assignment, Target } from '#identity/roles.ts';
import { type KeystoneApi, pathId } from './api.ts';
import { listAssignments } from './assignment-list.ts';
import { Renderer } from './render.ts';

type Place = (c: Context) => Omit<Assignment, 'roleId'>;

export function assignmentRoutes(api: KeystoneApi): Hono {
  const app = new Hono();
  for (const actorKind of ['user', 'group'] as const) {
    for (const targetKind of ['project', 'domain'] as const) {
      const who = `/${actorKind}s/:actor/roles`;
      const actor = (c: Context): Actor => ({ kind: actorKind, id: pathId(c, 'actor', actorKind) });
      const target = (c: Context): Target => ({
        kind: targetKind,
        id: pathId(c, 'target', targetKind),
      });
      const place =
        (inherited: boolean): Place =>
        (c) => ({ actor: actor(c), target: target(c), inherited });
      grantRoutes(api, app, `/v3/${targetKind}s/:target${who}`, '', place(false));
      const inherit = `/v3/OS-INHERIT/${targetKind}s/:target${who}`;
      grantRoutes(api, app, inherit, '/inherited_to_projects', place(true));
    }
    grantRoutes(api, app, `/v3/system/${actorKind}s/:actor/roles`, '', (c) => ({
      actor: { kind: actorKind, id: pathId(c, 'actor', actorKind) },
      target: { kind: 'system', id: 'all' },
      inherited: false,
    }));
  }
  app.get('/v3/role_assignments', (c) => listAssignments(api, c));
  return app;
}

function grantRoutes(
  api: KeystoneApi,
  app: Hono,
  base: string,
  suffix: string,
  place: Place,
): void {
  const { grants, roles } = api.identity;
  const renderer = new Renderer(api);
  const one = `${base}/:role${suffix}`;
  const assignment = (c: Context): Assignment => ({
    ...place(c),
    roleId: pathId(c, 'role', 'role'),
  });

  app.put(one, async (c) => {
    const caller = api.admin(c);
    const wanted = assignment(c);
    await grants.add(wanted);
    api.audit(caller, 'grant.add', factsOf(wanted));
    return c.body(null, 204);
  });

  app.get(one, async (c) => {
    api.admin(c);
    if (!(await grants.has(assignment(c)))) throw noAssignment();
    return c.body(null, 204);
  });

  app.delete(one, async (c) => {
    const caller = api.admin(c);
    const unwanted = assignment(c);
    if (!(await grants.remove(unwanted))) throw noAssignment();
    api.audit(caller, 'grant.remove', factsOf(unwanted));
    return c.body(null, 204);
  });

  app.get(base + suffix, async (c) => {
    api.admin(c);
    const { actor, target, inherited } = place(c);
    const found = (await grants.ofActor(actor)).filter(
      (grant) =>
        grant.inherited === inherited &&
        grant.target.kind === target.kind &&
        grant.target.id === target.id,
    );
    const all = await Promise.all(found.map(({ roleId }) => roles.get(roleId)));
    return renderer.list(
      c,
      'roles',
      all.map((role) => renderer.role(c, role)),
    );
  });
}

function factsOf({ actor, target, roleId, inherited }: Assignment): Record<string, unknown> {
  return { [actor.kind]: actor.id, [target.kind]: target.id, role: roleId, inherited };
}

function noAssignment(): OperatingError {
  return new OperatingError('not-found', 'Could not find role assignment.');
}

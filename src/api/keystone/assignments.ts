/**
 * Who has which role where: PUT/HEAD/GET/DELETE of
 * `/v3/{projects|domains}/ID/{users|groups}/ID/roles/ID`, the same for the system and (under
 * OS-INHERIT) for all projects of a domain or below a project; and `/v3/role_assignments`.
 */
import { type Context, Hono } from 'hono';
import { OperatingError } from '#base/errors.ts';
import type { Actor, Assignment, Target } from '#identity/roles.ts';
import { isAdmin, type KeystoneApi, notAuthorized, pathId, queryFlag } from './api.ts';
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

async function listAssignments(api: KeystoneApi, c: Context): Promise<Response> {
  const caller = api.caller(c);
  const userId = c.req.query('user.id');
  if (!isAdmin(caller) && userId !== caller.user.id) throw notAuthorized();
  const all = await api.identity.grants.list();
  const wanted = queryFlag(c, 'effective') === true ? await expandGroups(api, all) : all;
  const names = queryFlag(c, 'include_names') === true ? await namesOf(api) : undefined;
  const found = wanted.filter((assignment) => matches(c, assignment));
  const items = found.map((assignment) => renderAssignment(api, c, assignment, names));
  return new Renderer(api).list(c, 'role_assignments', items);
}

/** `effective`: each member of a group for itself, implied roles spelled out. */
async function expandGroups(api: KeystoneApi, all: readonly Assignment[]): Promise<Assignment[]> {
  const { groups, roles } = api.identity;
  const expanded: Assignment[] = [];
  for (const assignment of all) {
    const { actor } = assignment;
    const ids = actor.kind === 'user' ? [actor.id] : await groups.members(actor.id);
    const roleIds = await roles.withImplied([assignment.roleId]);
    for (const id of ids) {
      for (const roleId of roleIds) {
        expanded.push({ ...assignment, actor: { kind: 'user', id }, roleId });
      }
    }
  }
  return expanded;
}

function matches(c: Context, { actor, target, roleId, inherited }: Assignment): boolean {
  const asked: readonly (readonly [string, string | undefined])[] = [
    ['user.id', actor.kind === 'user' ? actor.id : undefined],
    ['group.id', actor.kind === 'group' ? actor.id : undefined],
    ['role.id', roleId],
    ['scope.project.id', target.kind === 'project' ? target.id : undefined],
    ['scope.domain.id', target.kind === 'domain' ? target.id : undefined],
    ['scope.system', target.kind === 'system' ? 'all' : undefined],
    ['scope.OS-INHERIT:inherited_to', inherited ? 'projects' : undefined],
  ];
  return asked.every(([name, value]) => {
    const wanted = c.req.query(name);
    return wanted === undefined || wanted === value || (name === 'scope.system' && value === 'all');
  });
}

type Names = (
  kind: 'user' | 'group' | 'project' | 'domain' | 'role',
  id: string,
) => Record<string, unknown>;

async function namesOf(api: KeystoneApi): Promise<Names> {
  const { users, groups, projects, domains, roles } = api.identity;
  const lists = {
    user: await users.list(),
    group: await groups.list(),
    project: await projects.list(),
    domain: await domains.list(),
    role: await roles.list(),
  };
  const domainNames = new Map(lists.domain.map(({ id, name }) => [id, name]));
  const index = Object.fromEntries(
    Object.entries(lists).map(([kind, list]) => [
      kind,
      new Map(list.map((item) => [item.id, item])),
    ]),
  );
  return (kind, id) => {
    const item = index[kind]?.get(id) as { name: string; domainId?: string } | undefined;
    if (item === undefined) return { id };
    const { name, domainId } = item;
    if (kind === 'domain' || domainId === undefined) return { id, name };
    return { id, name, domain: { id: domainId, name: domainNames.get(domainId) } };
  };
}

function renderAssignment(
  api: KeystoneApi,
  c: Context,
  { actor, target, roleId, inherited }: Assignment,
  names: Names = (_, id) => ({ id }),
): Record<string, unknown> {
  const scope =
    target.kind === 'system'
      ? { system: { all: true } }
      : { [target.kind]: names(target.kind, target.id) };
  const place = target.kind === 'system' ? '/system' : `/${target.kind}s/${target.id}`;
  const path = `${place}/${actor.kind}s/${actor.id}/roles/${roleId}`;
  return {
    scope: { ...scope, ...(inherited && { 'OS-INHERIT:inherited_to': 'projects' }) },
    [actor.kind]: names(actor.kind, actor.id),
    role: names('role', roleId),
    links: {
      assignment: api.url(c, inherited ? `/OS-INHERIT${path}/inherited_to_projects` : path),
    },
  };
}

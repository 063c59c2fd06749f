/**
 * /v3/role_assignments: what was granted, or (`effective`) what comes of it: each member of a group for
 * itself, each project that inherits, implied roles spelled out.
 */
import type { Context } from 'hono';
import { OperatingError } from '#base/errors.ts';
import type { Assignment, Target } from '#identity/roles.ts';
import { isAdmin, type KeystoneApi, notAuthorized } from './api.ts';
import { queryFlag } from './filters.ts';
import { ProjectTree } from './project-tree.ts';
import { Renderer } from './render.ts';

/** A role that somebody has somewhere, and the grant that it comes from. */
interface Entry extends Assignment {
  readonly source: Assignment;
}

const MAX_EFFECTIVE = 100_000;

export async function listAssignments(api: KeystoneApi, c: Context): Promise<Response> {
  const caller = api.caller(c);
  if (!isAdmin(caller) && c.req.query('user.id') !== caller.user.id) throw notAuthorized();
  const isEffective = queryFlag(c, 'effective') === true;
  refuseContradictions(c, isEffective);
  const tree = new ProjectTree(await api.identity.projects.list());
  const wanted = wantedEntries(c, tree);
  const all = await api.identity.grants.list();
  const entries = isEffective
    ? await effective(api, all, tree, wanted)
    : all.map((source) => ({ ...source, source }));
  const names = queryFlag(c, 'include_names') === true ? await namesOf(api) : undefined;
  const found = entries.filter(wanted);
  const items = found.map((entry) => renderEntry(api, c, entry, names));
  return new Renderer(api).list(c, 'role_assignments', items);
}

/** @throws OperatingError `bad-request` for what nothing can match */
function refuseContradictions(c: Context, isEffective: boolean): void {
  const has = (name: string): boolean => c.req.query(name) !== undefined;
  const scopes = ['scope.project.id', 'scope.domain.id', 'scope.system'].filter(has);
  const problem =
    (has('user.id') && has('group.id') && 'Specify a user or group, not both') ||
    (scopes.length > 1 && 'Specify a domain, a project or the system, not several') ||
    (isEffective && has('group.id') && 'Nobody is a group in what is effective') ||
    (queryFlag(c, 'include_subtree') === true &&
      !has('scope.project.id') &&
      'scope.project.id must be specified if include_subtree is also specified');
  if (problem) throw new OperatingError('bad-request', problem);
}

type Wanted = (entry: Entry) => boolean;

function wantedEntries(c: Context, tree: ProjectTree): Wanted {
  const project = c.req.query('scope.project.id');
  const isDeep = project !== undefined && queryFlag(c, 'include_subtree') === true;
  const below = isDeep ? tree.below(project).map(({ id }) => id) : [];
  const projects = project === undefined ? undefined : new Set([project, ...below]);
  const isWanted = (name: string, value: string | undefined): boolean =>
    [undefined, value].includes(c.req.query(name));
  return ({ actor, target, roleId, source }) =>
    isWanted('user.id', actor.kind === 'user' ? actor.id : undefined) &&
    isWanted('group.id', actor.kind === 'group' ? actor.id : undefined) &&
    isWanted('role.id', roleId) &&
    (projects === undefined || (target.kind === 'project' && projects.has(target.id))) &&
    isWanted('scope.domain.id', target.kind === 'domain' ? target.id : undefined) &&
    (c.req.query('scope.system') === undefined || target.kind === 'system') &&
    isWanted('scope.OS-INHERIT:inherited_to', source.inherited ? 'projects' : undefined);
}

/** Only what is wanted is kept, so that one user's roles cost no more than these. */
async function effective(
  api: KeystoneApi,
  all: readonly Assignment[],
  tree: ProjectTree,
  wanted: Wanted,
): Promise<Entry[]> {
  const { groups, roles } = api.identity;
  const entries: Entry[] = [];
  for (const source of all) {
    const { actor, roleId } = source;
    const users = actor.kind === 'user' ? [actor.id] : await groups.members(actor.id);
    const roleIds = [...(await roles.withImplied([roleId]))];
    const targets = targetsOf(source, tree);
    for (const id of users) {
      for (const entry of spelledOut(source, { kind: 'user', id }, roleIds, targets)) {
        if (wanted(entry)) entries.push(entry);
        if (entries.length > MAX_EFFECTIVE) throw tooMany();
      }
    }
  }
  return entries;
}

/** An inherited grant counts below its target, not there. */
function targetsOf({ target, inherited }: Assignment, tree: ProjectTree): readonly Target[] {
  if (!inherited) return [target];
  const below = target.kind === 'domain' ? tree.inDomain(target.id) : tree.below(target.id);
  return below.map(({ id }) => ({ kind: 'project', id }));
}

function* spelledOut(
  source: Assignment,
  actor: Assignment['actor'],
  roleIds: readonly string[],
  targets: readonly Target[],
): Generator<Entry> {
  for (const target of targets) {
    for (const roleId of roleIds) yield { actor, target, roleId, inherited: false, source };
  }
}

function tooMany(): OperatingError {
  const what = 'Too many effective assignments: ask for those of a user, a role or a project.';
  return new OperatingError('bad-request', what);
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

function renderEntry(
  api: KeystoneApi,
  c: Context,
  { actor, target, roleId, inherited, source }: Entry,
  names: Names = (_, id) => ({ id }),
): Record<string, unknown> {
  const scope =
    target.kind === 'system'
      ? { system: { all: true } }
      : { [target.kind]: names(target.kind, target.id) };
  const isMember = source.actor.kind === 'group' && actor.kind === 'user';
  const membership = `/groups/${source.actor.id}/users/${actor.id}`;
  return {
    scope: { ...scope, ...(inherited && { 'OS-INHERIT:inherited_to': 'projects' }) },
    [actor.kind]: names(actor.kind, actor.id),
    role: names('role', roleId),
    links: {
      assignment: api.url(c, pathOf(source)),
      ...(isMember && { membership: api.url(c, membership) }),
    },
  };
}

function pathOf({ actor, target, roleId, inherited }: Assignment): string {
  const place = target.kind === 'system' ? '/system' : `/${target.kind}s/${target.id}`;
  const path = `${place}/${actor.kind}s/${actor.id}/roles/${roleId}`;
  return inherited ? `/OS-INHERIT${path}/inherited_to_projects` : path;
}

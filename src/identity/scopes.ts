/** Where a token counts, and which roles it carries there: grants, groups, inheritance, implied roles. */
import type { IdentityContext } from './context.ts';
import type { Domains, Projects } from './domains.ts';
import type { Groups } from './groups.ts';
import {
  type DomainReference,
  type Proof,
  type ScopeRequest,
  unauthorized,
} from './log-in-request.ts';
import type { User } from './records.ts';
import type { Actor, Assignment, Grants, Roles } from './roles.ts';
import type { Scope } from './token.ts';

export interface ScopeParts {
  readonly groups: Groups;
  readonly domains: Domains;
  readonly projects: Projects;
  readonly roles: Roles;
  readonly grants: Grants;
}

export class Scopes {
  readonly #context: IdentityContext;
  readonly #parts: ScopeParts;

  constructor(context: IdentityContext, parts: ScopeParts) {
    this.#context = context;
    this.#parts = parts;
  }

  async resolve(wanted: ScopeRequest | undefined, proof: Proof): Promise<Scope> {
    const { boundTo, user } = proof;
    if (wanted === undefined) return boundTo ?? this.#defaultScope(user);
    const scope = await this.#findScope(wanted);
    if (boundTo !== undefined && !sameScope(scope, boundTo)) throw unauthorized();
    return scope;
  }

  async #defaultScope(user: User): Promise<Scope> {
    const id = user.defaultProjectId;
    if (id === undefined) return { kind: 'none' };
    const project = (await this.#context.store.projects.get(id))?.fields;
    const scope: Scope = { kind: 'project', id };
    if (project === undefined || !(await this.isOpen(project))) return { kind: 'none' };
    return (await this.effectiveRoles(user.id, scope)).size > 0 ? scope : { kind: 'none' };
  }

  async #findScope(wanted: ScopeRequest): Promise<Scope> {
    switch (wanted.kind) {
      case 'trust':
        throw unauthorized();
      case 'none':
      case 'system':
        return { kind: wanted.kind };
      case 'domain': {
        const id = await this.domainId(wanted.domain);
        const domain = id === undefined ? undefined : await this.#context.store.domains.get(id);
        if (!domain?.fields.enabled) throw unauthorized();
        return { kind: 'domain', id: domain.fields.id };
      }
      case 'project': {
        const project = await this.#findProject(wanted);
        if (project === undefined || !(await this.isOpen(project))) throw unauthorized();
        return { kind: 'project', id: project.id };
      }
    }
  }

  async #findProject(wanted: Extract<ScopeRequest, { kind: 'project' }>) {
    if ('id' in wanted) return (await this.#context.store.projects.get(wanted.id))?.fields;
    const domainId = await this.domainId(wanted.domain);
    return domainId === undefined ? undefined : this.#parts.projects.find(wanted.name, domainId);
  }

  async isOpen(project: {
    readonly enabled: boolean;
    readonly domainId: string;
  }): Promise<boolean> {
    if (!project.enabled) return false;
    return (await this.#context.store.domains.get(project.domainId))?.fields.enabled === true;
  }

  async rolesFor(proof: Proof, scope: Scope): Promise<string[]> {
    if (scope.kind === 'none') return [];
    // The trustor was found to have them (#throughTrust), whoever the token is for.
    if (proof.trustId !== undefined)
      return [...(await this.#parts.roles.withImplied(proof.roleIds ?? []))];
    if (proof.methods.includes('mapped')) return [...(proof.roleIds ?? [])];
    const effective = await this.effectiveRoles(proof.user.id, scope);
    const allowed = proof.roleIds && (await this.#parts.roles.withImplied(proof.roleIds));
    const roleIds = [...effective].filter((id) => allowed === undefined || allowed.has(id));
    // Someone without a role there must not learn whether the project exists: the same answer.
    if (roleIds.length === 0) throw unauthorized();
    return roleIds;
  }

  /** The project's domain and the projects above it: where inherited roles come from. */
  async #ancestors(projectId: string): Promise<Set<string>> {
    const ids = new Set<string>();
    let project = (await this.#context.store.projects.get(projectId))?.fields;
    if (project !== undefined) ids.add(project.domainId);
    while (project?.parentId !== undefined && !ids.has(project.parentId)) {
      ids.add(project.parentId);
      project = (await this.#context.store.projects.get(project.parentId))?.fields;
    }
    return ids;
  }

  /** Ids of the roles in effect, with groups, inheritance and implied roles. */
  async effectiveRoles(
    userId: string,
    scope: Scope,
    moreGroups: readonly string[] = [],
  ): Promise<Set<string>> {
    const { roles } = this.#parts;
    const inheritedFrom = scope.kind === 'project' ? await this.#ancestors(scope.id) : new Set();
    const assignments = await this.#assignmentsOf(userId, moreGroups);
    const direct = assignments.filter(({ target, inherited }) => {
      if (inherited) return inheritedFrom.has(target.id);
      if (scope.kind === 'system') return target.kind === 'system';
      return 'id' in scope && target.kind === scope.kind && target.id === scope.id;
    });
    return roles.withImplied(direct.map(({ roleId }) => roleId));
  }

  /** Projects in which the user has a role, for GET /v3/auth/projects. */
  async projectsOf(userId: string): Promise<string[]> {
    const assignments = await this.#assignmentsOf(userId, []);
    const ids = (inherited: boolean) =>
      new Set(
        assignments.filter((one) => one.inherited === inherited).map(({ target }) => target.id),
      );
    const [direct, inheritedFrom] = [ids(false), ids(true)];
    const found: string[] = [];
    for (const { id, enabled } of await this.#parts.projects.list()) {
      if (!enabled) continue;
      if (
        direct.has(id) ||
        (inheritedFrom.size > 0 && (await this.#inheritsFrom(id, inheritedFrom)))
      ) {
        found.push(id);
      }
    }
    return found;
  }

  async #inheritsFrom(projectId: string, sources: ReadonlySet<string>): Promise<boolean> {
    return [...(await this.#ancestors(projectId))].some((id) => sources.has(id));
  }

  /** The user's own and those of their groups. */
  async #assignmentsOf(userId: string, moreGroups: readonly string[]): Promise<Assignment[]> {
    const { groups, grants } = this.#parts;
    const groupIds = [...(await groups.ofUser(userId)), ...moreGroups];
    const actors: Actor[] = [
      { kind: 'user', id: userId },
      ...groupIds.map((id): Actor => ({ kind: 'group', id })),
    ];
    return (await Promise.all(actors.map((actor) => grants.ofActor(actor)))).flat();
  }

  async domainId(reference: DomainReference): Promise<string | undefined> {
    if ('id' in reference) return reference.id;
    return (await this.#parts.domains.find(reference.name))?.id;
  }

  async isEnabled(user: User): Promise<boolean> {
    if (!user.enabled) return false;
    return (await this.#context.store.domains.get(user.domainId))?.fields.enabled === true;
  }
}

function sameScope(a: Scope, b: Scope): boolean {
  return a.kind === b.kind && ('id' in a ? a.id : '') === ('id' in b ? b.id : '');
}

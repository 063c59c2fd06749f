/** Users that certificates and rules bring: made on first sight, without a password. */
import { codeOf } from '#base/errors.ts';
import type { Projects } from './domains.ts';
import type { Groups } from './groups.ts';
import { unauthorized } from './log-in-request.ts';
import type { Mapped } from './mapping.ts';
import type { Project, User } from './records.ts';
import type { Roles } from './roles.ts';
import type { Scopes } from './scopes.ts';
import type { Scope } from './token.ts';
import type { Users } from './users.ts';

export interface MappedUserParts {
  readonly users: Users;
  readonly groups: Groups;
  readonly projects: Projects;
  readonly roles: Roles;
  readonly scopes: Scopes;
}

export class MappedUsers {
  readonly #parts: MappedUserParts;

  constructor(parts: MappedUserParts) {
    this.#parts = parts;
  }

  projectOf({ project, domainId }: Mapped): Promise<Project | undefined> {
    return this.#parts.projects.find(project, domainId);
  }

  /** @throws OperatingError `unauthorized`: a certificate's name is that of another kind of user */
  async find(mapped: Mapped): Promise<User> {
    const { user: name, domainId } = mapped;
    const { users } = this.#parts;
    const known = await users.find(name, domainId);
    if (known !== undefined) {
      if (mapped.filledIn && (await users.hasPassword(known.id))) throw unauthorized();
      return known;
    }
    try {
      return await users.create({ name, domainId, description: 'made from a certificate' });
    } catch (error) {
      // Made at the same time by another request.
      const other = codeOf(error) === 'conflict' ? await users.find(name, domainId) : undefined;
      if (other === undefined) throw error;
      return other;
    }
  }

  /** Ids of the mapped groups, of which the user is a member for this session. */
  async groupsOf({ groups: names, domainId }: Mapped): Promise<string[]> {
    const { groups } = this.#parts;
    const found = await Promise.all(names.map((name) => groups.find(name, domainId)));
    return found.flatMap((group) => (group === undefined ? [] : [group.id]));
  }

  /** The mapped roles, those of the mapped groups, and what the user was granted besides. */
  async rolesOf(
    mapped: Mapped,
    user: User,
    scope: Scope,
    groupIds: readonly string[],
  ): Promise<Set<string>> {
    const { roles } = this.#parts;
    const named = await Promise.all(mapped.roles.map((name) => roles.find(name)));
    const granted = await this.#parts.scopes.effectiveRoles(user.id, scope, groupIds);
    return roles.withImplied([
      ...granted,
      ...named.flatMap((role) => (role === undefined ? [] : [role.id])),
    ]);
  }
}

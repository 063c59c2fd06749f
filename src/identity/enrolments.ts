/**
 * How people get a user by themselves: with an invitation (a code that an administrator made, for one
 * project and some roles), or, where the operator has switched it on, openly: then each gets a project
 * of their own.
 *
 * A code is 32 random characters and kept only as its hash, which is its key in state.
 */
import { createHash } from 'node:crypto';
import { OperatingError } from '#base/errors.ts';
import { badRequest, commit, forbidden, type IdentityContext, nowMs } from './context.ts';
import type { Projects } from './domains.ts';
import { DEFAULT_DOMAIN_ID } from './id.ts';
import type { LogInGuard, Suspect } from './log-in-guard.ts';
import type { Invitation, Project, User } from './records.ts';
import type { Grants, Roles } from './roles.ts';
import { secretText } from './secret-text.ts';
import type { Users } from './users.ts';

const CODE_LENGTH = 32;
const MAX_USES = 10_000;
const GUESSED: Suspect = { id: 'invitation', exists: false };

export interface NewInvitation {
  readonly projectId: string;
  readonly roleIds: readonly string[];
  readonly expiresMs: number;
  readonly uses?: number;
}

export interface Enrolment {
  readonly name: string;
  readonly password: string;
  readonly email?: string;
  /** Absent: open registration. */
  readonly invitation?: string;
  readonly address: string;
}

export interface EnrolmentParts {
  readonly users: Users;
  readonly projects: Projects;
  readonly roles: Roles;
  readonly grants: Grants;
  readonly guard: LogInGuard;
}

export class Enrolments {
  readonly #context: IdentityContext;
  readonly #parts: EnrolmentParts;

  constructor(context: IdentityContext, parts: EnrolmentParts) {
    this.#context = context;
    this.#parts = parts;
  }

  /** The code is shown this once. */
  async invite(
    wanted: NewInvitation,
  ): Promise<{ readonly code: string; readonly invitation: Invitation }> {
    const { invitations, projects } = this.#context.store;
    const { projectId, roleIds, expiresMs, uses = 1 } = wanted;
    if (roleIds.length === 0 || uses < 1 || uses > MAX_USES) {
      throw badRequest(`An invitation has a role, and 1 to ${MAX_USES} uses.`);
    }
    const code = secretText(this.#context.env.random, CODE_LENGTH);
    const id = idOf(code);
    const createdMs = nowMs(this.#context);
    const invitation = { id, projectId, roleIds: [...roleIds], expiresMs, uses, createdMs };
    const transaction = {
      compare: [projects.exists(true, projectId)],
      success: [invitations.put(invitation, id)],
    };
    await commit(this.#context, transaction, 'No such project.');
    return { code, invitation };
  }

  async list(): Promise<Invitation[]> {
    return (await this.#context.store.invitations.list()).map(({ fields }) => fields);
  }

  /** False: there was none. */
  withdraw(id: string): Promise<boolean> {
    return this.#context.store.invitations.erase(id);
  }

  /** @throws OperatingError `forbidden`, `conflict` (the name is taken), `too-many-attempts` */
  async enrol(wanted: Enrolment): Promise<{ readonly user: User; readonly project: Project }> {
    await this.#parts.guard.check(GUESSED, wanted.address);
    const place =
      wanted.invitation === undefined
        ? await this.#openPlace(wanted)
        : await this.#invitedPlace(wanted.invitation, wanted);
    const { name, password, email } = wanted;
    const project = place.project ?? (await this.#parts.projects.create({ name }));
    const fields = { name, password, email, defaultProjectId: project.id };
    const user = await this.#parts.users.create(fields);
    for (const roleId of place.roleIds) {
      const actor = { kind: 'user' as const, id: user.id };
      const target = { kind: 'project' as const, id: project.id };
      await this.#parts.grants.add({ actor, target, roleId, inherited: false });
    }
    const facts = { user: user.id, project: project.id, address: wanted.address };
    this.#context.env.log.info('identity.enrolled', facts);
    return { user, project };
  }

  async #openPlace({ name }: Enrolment): Promise<{ roleIds: string[]; project?: Project }> {
    const { openRegistration } = this.#context.settings;
    if (openRegistration === undefined) throw forbidden('Enrolment is by invitation.');
    const found = await Promise.all(
      openRegistration.roles.map((role) => this.#parts.roles.find(role)),
    );
    await this.#mustBeFree(name);
    return { roleIds: found.flatMap((role) => (role === undefined ? [] : [role.id])) };
  }

  /** Before a use is taken or a project made: a taken name must cost neither. */
  async #mustBeFree(name: string): Promise<void> {
    const { names } = this.#context.store;
    const taken = await names.find('user', DEFAULT_DOMAIN_ID, name);
    if (taken !== undefined) throw new OperatingError('conflict', 'The name is taken.');
  }

  async #invitedPlace(
    code: string,
    { name, address }: Enrolment,
  ): Promise<{ roleIds: string[]; project: Project }> {
    const { invitations, projects } = this.#context.store;
    const stored = await invitations.get(idOf(code));
    const project = stored && (await projects.get(stored.fields.projectId))?.fields;
    if (!stored || !project || stored.fields.expiresMs <= nowMs(this.#context)) {
      this.#parts.guard.failed(GUESSED, address);
      throw forbidden('No such invitation, or it is over.');
    }
    await this.#mustBeFree(name);
    const { id, uses, roleIds } = stored.fields;
    const last = uses <= 1;
    const transaction = {
      compare: [invitations.unchanged(stored)],
      success: [
        last ? invitations.remove(id) : invitations.put({ ...stored.fields, uses: uses - 1 }, id),
      ],
    };
    await commit(
      this.#context,
      transaction,
      'The invitation was used at the same time: try again.',
    );
    return { roleIds, project };
  }
}

function idOf(code: string): string {
  return createHash('sha256').update(`anello invitation\0${code}`).digest('hex').slice(0, 32);
}

/** `anello user create|invite|list|password|delete`. */
import { type Command, InvalidArgumentError } from 'commander';
import { z } from 'zod';
import { addExamples } from '../examples.ts';
import {
  addIdentityOptions,
  fieldOf,
  IdentityClient,
  type IdentityOptions,
  listOf,
  namedSchema,
} from '../identity/client.ts';
import { printJson, printTable } from '../identity/output.ts';
import { readSecret, SECRET_HINT } from '../input-file.ts';

const userSchema = z.object({ id: z.string(), name: z.string(), enabled: z.boolean() });

interface CreateOptions extends IdentityOptions {
  readonly password: string;
  readonly project?: string;
  readonly role: readonly string[];
}

interface InviteOptions extends IdentityOptions {
  readonly project: string;
  readonly role: readonly string[];
  readonly days: number;
  readonly uses: number;
}

const invitationSchema = z.object({ code: z.string(), expires_at: z.string() });

const WHAT_ROLES =
  'what they are there: admin or swiftoperator (everything in its account), member or reader (what ACLs and policies give them)';

function positive(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1)
    throw new InvalidArgumentError('not a whole number above 0');
  return value;
}

export function register(program: Command): void {
  const user = program.command('user').description('users and their passwords');
  addExamples(user, [
    'anello user create anna --password s3cret --project photos --role swiftoperator',
    'anello user invite --project photos --days 3',
    'anello user list',
    'anello user password anna --password n3w',
    'anello user delete anna',
  ]);

  addIdentityOptions(user.command('create <name>'))
    .description('make a user, with a role in a project')
    .requiredOption('--password <password>', `their password; ${SECRET_HINT}`)
    .option('--project <name>', 'their project')
    .option('--role <name...>', WHAT_ROLES, ['member'])
    .action(async (name: string, options: CreateOptions) => {
      const created = await create(new IdentityClient(options), name, options);
      if (options.json) printJson(created);
      else
        console.log(
          `user ${name} (${created.id})${created.login ? `, logs in as ${created.login}` : ''}`,
        );
    });

  addIdentityOptions(user.command('invite'))
    .description('make a code with which somebody enrols by themselves')
    .requiredOption('--project <name>', 'where they will be')
    .option('--role <name...>', 'what they will be there', ['member'])
    .option('--days <number>', 'how long it is good', positive, 14)
    .option('--uses <number>', 'how many people it is for', positive, 1)
    .addHelpText(
      'after',
      '\nThe invited person sends {"user": {"name", "password", "invitation"}} to POST /v3/anello/users.',
    )
    .action(async (options: InviteOptions) => {
      const client = new IdentityClient(options);
      const { id } = await client.find('project', options.project);
      const { days, uses } = options;
      const wanted = { project_id: id, roles: options.role.map((name) => ({ name })), days, uses };
      const answer = await client.call('POST', '/anello/invitations', { invitation: wanted });
      const invitation = fieldOf(answer, 'invitation', invitationSchema);
      if (options.json) printJson(invitation);
      else console.log(`invitation ${invitation.code}, good until ${invitation.expires_at}`);
    });

  addIdentityOptions(user.command('list'))
    .description('all users')
    .action(async (options: IdentityOptions) => {
      const answer = await new IdentityClient(options).call('GET', '/users');
      const users = listOf(answer, 'users', userSchema);
      if (options.json) printJson(users);
      else
        printTable(
          ['NAME', 'ID', 'ENABLED'],
          users.map((u) => [u.name, u.id, String(u.enabled)]),
        );
    });

  addIdentityOptions(user.command('password <name>'))
    .description("set a user's password; their tokens end")
    .requiredOption('--password <password>', `the new one; ${SECRET_HINT}`)
    .action(async (name: string, options: IdentityOptions & { password: string }) => {
      const password = readSecret(options.password);
      const client = new IdentityClient(options);
      const { id } = await client.find('user', name);
      await client.call('PATCH', `/users/${id}`, { user: { password } });
      if (options.json) printJson({ id, name, changed: true });
      else console.log(`password of ${name} changed`);
    });

  addIdentityOptions(user.command('delete <name>'))
    .description('remove a user, with their keys; their tokens end')
    .action(async (name: string, options: IdentityOptions) => {
      const client = new IdentityClient(options);
      const { id } = await client.find('user', name);
      await client.call('DELETE', `/users/${id}`);
      if (options.json) printJson({ id, name, deleted: true });
      else console.log(`user ${name} deleted`);
    });
}

/** Project and roles are looked up first: a wrong name must not leave half a user behind. */
async function create(client: IdentityClient, name: string, options: CreateOptions) {
  const password = readSecret(options.password);
  const project =
    options.project === undefined ? undefined : await client.find('project', options.project);
  const roles =
    project && (await Promise.all(options.role.map((role) => client.find('role', role))));
  const wanted = { name, password, ...(project && { default_project_id: project.id }) };
  const answer = await client.call('POST', '/users', { user: wanted });
  const { id } = fieldOf(answer, 'user', namedSchema);
  for (const role of roles ?? []) {
    await client.call('PUT', `/projects/${project!.id}/users/${id}/roles/${role.id}`);
  }
  return { id, name, ...(project && { project: project.name, login: `${project.name}:${name}` }) };
}

/** `anello grant` (add), `anello grant remove|list`: who has which role in which project. */
import type { Command } from 'commander';
import { z } from 'zod';
import { addExamples } from '../examples.ts';
import {
  addIdentityOptions,
  IdentityClient,
  type IdentityOptions,
  listOf,
} from '../identity/client.ts';
import { printJson, printTable } from '../identity/output.ts';

interface GrantOptions extends IdentityOptions {
  readonly user: string;
  readonly project: string;
  readonly role: string;
}

const named = z.object({ id: z.string(), name: z.string().optional() });
const assignmentSchema = z.object({
  user: named.optional(),
  group: named.optional(),
  role: named,
  scope: z.object({ project: named.optional(), domain: named.optional() }).loose(),
});

export function register(program: Command): void {
  const grant = program.command('grant').description('roles of users in projects');
  addExamples(grant, [
    'anello grant add --user anna --project photos --role member',
    'anello grant remove --user anna --project photos --role member',
    'anello grant list',
  ]);
  const place = (command: Command): Command =>
    addIdentityOptions(command)
      .requiredOption('--user <name>', 'who')
      .requiredOption('--project <name>', 'where')
      .requiredOption(
        '--role <name>',
        'admin, swiftoperator, member, reader, ResellerAdmin or another',
      );

  place(grant.command('add', { isDefault: true }))
    .description('give a role')
    .action((options: GrantOptions) => change(options, 'PUT', 'now has'));

  place(grant.command('remove'))
    .description('take a role away; tokens that rest on it end')
    .action((options: GrantOptions) => change(options, 'DELETE', 'no longer has'));

  addIdentityOptions(grant.command('list'))
    .description('all grants')
    .action(async (options: IdentityOptions) => {
      const answer = await new IdentityClient(options).call(
        'GET',
        '/role_assignments?include_names',
      );
      const grants = listOf(answer, 'role_assignments', assignmentSchema).map((found) => ({
        who: label(found.user ?? found.group),
        role: label(found.role),
        where: label(found.scope.project ?? found.scope.domain, 'system'),
      }));
      if (options.json) printJson(grants);
      else
        printTable(
          ['WHO', 'ROLE', 'WHERE'],
          grants.map(({ who, role, where }) => [who, role, where]),
        );
    });
}

async function change(
  options: GrantOptions,
  method: 'PUT' | 'DELETE',
  done: string,
): Promise<void> {
  const client = new IdentityClient(options);
  const user = await client.find('user', options.user);
  const project = await client.find('project', options.project);
  const role = await client.find('role', options.role);
  await client.call(method, `/projects/${project.id}/users/${user.id}/roles/${role.id}`);
  if (options.json)
    printJson({ user: user.id, project: project.id, role: role.id, granted: method === 'PUT' });
  else console.log(`${user.name} ${done} ${role.name} in ${project.name}`);
}

function label(item: { id: string; name?: string } | undefined, otherwise = ''): string {
  return item?.name ?? item?.id ?? otherwise;
}

/** `anello key create|list|delete`: S3 key pairs. */
import type { Command } from 'commander';
import { z } from 'zod';
import { OperatingError } from '#base/errors.ts';
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

const keySchema = z.object({
  access: z.string(),
  secret: z.string(),
  user_id: z.string(),
  tenant_id: z.string(),
});

interface CreateOptions extends IdentityOptions {
  readonly user: string;
  readonly project: string;
  readonly access?: string;
  readonly secret?: string;
}

export function register(program: Command): void {
  const key = program.command('key').description('S3 access keys');
  addExamples(key, [
    'anello key create --user anna --project photos',
    'anello key list --user anna',
    'anello key delete ACCESS',
  ]);

  addIdentityOptions(key.command('create'))
    .description('make a key pair for a user in a project')
    .requiredOption('--user <name>', 'whose')
    .requiredOption('--project <name>', 'for the buckets of which project')
    .option('--access <key>', 'an access key of your own')
    .option('--secret <key>', `a secret key of your own; ${SECRET_HINT}`)
    .action(async (options: CreateOptions) => {
      const client = new IdentityClient(options);
      const user = await client.find('user', options.user);
      const project = await client.find('project', options.project);
      const { access } = options;
      const secret = options.secret === undefined ? undefined : readSecret(options.secret);
      const wanted = { tenant_id: project.id, access, secret };
      const answer = await client.call('POST', `/users/${user.id}/credentials/OS-EC2`, wanted);
      const pair = fieldOf(answer, 'credential', keySchema);
      if (options.json)
        printJson({
          access: pair.access,
          secret: pair.secret,
          user: user.name,
          project: project.name,
        });
      else console.log(`access key ${pair.access}\nsecret key ${pair.secret}`);
    });

  addIdentityOptions(key.command('list'))
    .description('all key pairs, without their secrets')
    .option('--user <name>', 'of one user')
    .action(async (options: IdentityOptions & { user?: string }) => {
      const keys = await list(new IdentityClient(options), options.user);
      if (options.json) printJson(keys);
      else
        printTable(
          ['ACCESS', 'USER', 'PROJECT'],
          keys.map((k) => [k.access, k.user, k.project]),
        );
    });

  addIdentityOptions(key.command('delete <access>'))
    .description('remove a key pair; requests signed with it are refused from then on')
    .action(async (access: string, options: IdentityOptions) => {
      const client = new IdentityClient(options);
      for (const user of listOf(await client.call('GET', '/users'), 'users', namedSchema)) {
        const keys = await keysOf(client, user.id);
        if (!keys.some((found) => found.access === access)) continue;
        await client.call(
          'DELETE',
          `/users/${user.id}/credentials/OS-EC2/${encodeURIComponent(access)}`,
        );
        if (options.json) printJson({ access, deleted: true });
        else console.log(`key ${access} deleted`);
        return;
      }
      throw new OperatingError('not-found', `no such key: ${access}`);
    });
}

async function list(client: IdentityClient, userName: string | undefined) {
  const projects = listOf(await client.call('GET', '/projects'), 'projects', namedSchema);
  const projectNames = new Map(projects.map(({ id, name }) => [id, name]));
  const users =
    userName === undefined
      ? listOf(await client.call('GET', '/users'), 'users', namedSchema)
      : [await client.find('user', userName)];
  const lists = await Promise.all(
    users.map(async (user) =>
      (await keysOf(client, user.id)).map(({ access, tenant_id: id }) => ({
        ...{ access, user: user.name, project: projectNames.get(id) ?? id },
      })),
    ),
  );
  return lists.flat();
}

async function keysOf(
  client: IdentityClient,
  userId: string,
): Promise<z.output<typeof keySchema>[]> {
  const answer = await client.call('GET', `/users/${userId}/credentials/OS-EC2`);
  return listOf(answer, 'credentials', keySchema);
}

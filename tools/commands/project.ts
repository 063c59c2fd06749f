/** `anello project create|list|delete`. */
import type { Command } from 'commander';
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

const projectSchema = z.object({ id: z.string(), name: z.string(), enabled: z.boolean() });

export function register(program: Command): void {
  const project = program.command('project').description('projects: each owns one account');
  addExamples(project, [
    'anello project create photos',
    'anello project list --json',
    'anello project delete photos',
  ]);

  addIdentityOptions(project.command('create <name>'))
    .description('make a project')
    .option('--description <text>', 'what it is for', '')
    .action(async (name: string, options: IdentityOptions & { description: string }) => {
      const { description } = options;
      const answer = await new IdentityClient(options).call('POST', '/projects', {
        project: { name, description },
      });
      const { id } = fieldOf(answer, 'project', namedSchema);
      if (options.json) printJson({ id, name, account: `AUTH_${id}` });
      else console.log(`project ${name} (${id}), account AUTH_${id}`);
    });

  addIdentityOptions(project.command('list'))
    .description('all projects')
    .action(async (options: IdentityOptions) => {
      const answer = await new IdentityClient(options).call('GET', '/projects');
      const projects = listOf(answer, 'projects', projectSchema);
      if (options.json)
        printJson(
          projects.map(({ id, name, enabled }) => ({ id, name, enabled, account: `AUTH_${id}` })),
        );
      else
        printTable(
          ['NAME', 'ACCOUNT', 'ENABLED'],
          projects.map((p) => [p.name, `AUTH_${p.id}`, String(p.enabled)]),
        );
    });

  addIdentityOptions(project.command('delete <name>'))
    .description('remove a project; its account keeps its data until it is deleted')
    .action(async (name: string, options: IdentityOptions) => {
      const client = new IdentityClient(options);
      const { id } = await client.find('project', name);
      await client.call('DELETE', `/projects/${id}`);
      if (options.json) printJson({ id, name, deleted: true });
      else console.log(`project ${name} deleted`);
    });
}

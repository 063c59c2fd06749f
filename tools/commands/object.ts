/** `anello object`: one object's copies. */
import type { Command } from 'commander';
import { addShow } from '../placement/copies.ts';

export function register(program: Command): void {
  const object = program
    .command('object')
    .description('where an object is, and whether it is good');
  addShow(object, 'object', '/AUTH_demo/photos/cat.jpg');
}

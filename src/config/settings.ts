import { type Static, Type } from 'typebox';
import { accounts, sessions, speech } from './settings/people.js';
import { files, limits, server } from './settings/service.js';
import { tasks, workers } from './settings/tasks.js';

export { openAiUrl } from './settings/values.js';

/** Every setting: its environment variable, what it may be, its default and what it means. */
export const settings = Type.Object({
  ...{ ...server, ...files, ...limits },
  ...{ ...tasks, ...workers },
  ...{ ...accounts, ...sessions, ...speech },
});
export type Settings = Static<typeof settings>;

export const settingNames = Object.keys(settings.properties) as (keyof Settings)[];

/** In the order of docs/configuration.md and .env.example, under their headings. */
export const settingGroups: Readonly<Record<string, Readonly<Record<string, Type.TSchema>>>> = {
  Server: server,
  Files: files,
  Limits: limits,
  'Redis and tasks': tasks,
  Workers: workers,
  Accounts: accounts,
  Sessions: sessions,
  'Speech and dialogue': speech,
};

/** Settings whose values never appear in a message. */
export const secretSettings: ReadonlySet<string> = new Set(
  settingNames.filter((name) => 'writeOnly' in settings.properties[name]),
);

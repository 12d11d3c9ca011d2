// What a host on @modelcontextprotocol/client 2.x sees of a live run, in both eras: progress, changes, questions.
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { readJob, report, withBearer } from './calls.mjs';

const { url, token, mode } = await readJob();
const client = new Client(
  { name: 'tests', version: '1' },
  { versionNegotiation: { mode }, capabilities: { elicitation: { form: {} } } },
);
const asked = [];
client.setRequestHandler('elicitation/create', async ({ params }) => {
  const [argument, choice] = Object.entries(params.requestedSchema.properties)[0];
  asked.push({ argument, choices: choice.enum });
  return { action: 'accept', content: { [argument]: choice.enum.find((each) => each.includes('demo')) ?? choice.enum[0] } };
});
const updated = new Set();
client.setNotificationHandler('notifications/resources/updated', ({ params }) => void updated.add(params.uri));
let listChanged = 0;
client.setNotificationHandler('notifications/resources/list_changed', () => void (listChanged += 1));

await client.connect(new StreamableHTTPClientTransport(new URL(url), withBearer(token)));
const modern = client.getProtocolEra() === 'modern';
const call = (name, args, options) => client.callTool({ name, arguments: args }, options);

const lists = modern ? await client.listen({ resourcesListChanged: true }) : undefined;
const { run } = (await call('mogplex_start_agent_run', { repoId: 'hello', prompt: 'Repair it.', createBranch: true })).structuredContent;
const state = `mogplex://runs/${run.runId}`;
const uris = [state, `${state}/events`];
const changes = modern ? await client.listen({ resourceSubscriptions: uris }) : undefined;
if (!modern) for (const uri of uris) await client.subscribeResource({ uri });

const words = [];
const onprogress = ({ progress, message }) => void words.push({ progress, message });
const followed = (await call('mogplex_follow_run', { runId: run.runId }, { onprogress })).structuredContent;

// The last changes may be told after the answer.
const deadline = Date.now() + 10_000;
while ((updated.size < uris.length || listChanged === 0) && Date.now() < deadline) await new Promise((go) => setTimeout(go, 20));
const read = JSON.parse((await client.readResource({ uri: state })).contents[0].text);
const cancelled = (await call('mogplex_cancel_run', { runId: run.runId.slice(0, 8) })).structuredContent;

await changes?.close();
await lists?.close();
await client.close();
report({ modern, honoured: changes?.honoredFilter, followed, words, updated: [...updated], uris, listChanged, asked, read, cancelled });

// Tasks as @modelcontextprotocol/ext-tasks runs them: a started run that is waited for without holding a connection.
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { createTaskSessionFromClient } from '@modelcontextprotocol/ext-tasks/client';
import { readJob, report, withBearer } from './calls.mjs';

const { url, token } = await readJob();
const PROTOCOL = '2026-07-28';
const clientInfo = { name: 'tests', version: '1' };
const clientCapabilities = { elicitation: { form: {} } };

/** The host's own way to the server: the client's codecs refuse what tasks look like on the wire. */
let lastId = 0;
async function rawDispatch(request, options = {}) {
  const answer = await fetch(url, {
    method: 'POST',
    signal: options.signal,
    headers: {
      Authorization: `Bearer ${token}`,
      'Content-Type': 'application/json',
      Accept: 'application/json, text/event-stream',
      'MCP-Protocol-Version': PROTOCOL,
      'Mcp-Method': request.method,
      ...(request.params?.name ? { 'Mcp-Name': request.params.name } : {}),
      ...options.context?.headers,
    },
    body: JSON.stringify({ jsonrpc: '2.0', id: `raw-${(lastId += 1)}`, ...request }),
  });
  const text = await answer.text();
  const data = text.startsWith('{') ? [text] : text.split('\n').filter((line) => line.startsWith('data: ')).map((line) => line.slice(6));
  const { result, error } = JSON.parse(data.at(-1));
  return error ? { kind: 'error', error } : { kind: 'result', result };
}

async function openSession(onInputRequest) {
  const client = new Client(clientInfo, { versionNegotiation: { mode: { pin: PROTOCOL } }, capabilities: clientCapabilities });
  await client.connect(new StreamableHTTPClientTransport(new URL(url), withBearer(token)));
  const v2RequestFraming = { protocolVersion: PROTOCOL, clientInfo, clientCapabilities };
  const session = createTaskSessionFromClient(client, { endpointId: 'tests', rawDispatch, v2RequestFraming, onInputRequest });
  return { client, session };
}

const asked = [];
const pickDemo = async ({ params }) => {
  const [argument, choice] = Object.entries(params.requestedSchema.properties)[0];
  asked.push({ argument, choices: choice.enum });
  return { action: 'accept', content: { [argument]: choice.enum.find((each) => each.includes('demo')) } };
};
const START = { repoId: 'hello', prompt: 'Repair it.', createBranch: true, wait: true };

const first = await openSession(pickDemo);
const execution = await first.session.callTool('mogplex_start_agent_run', START);
const seen = [];
const { outcome } = await execution.settle({ onEvent: (event) => void (event.type === 'task' && seen.push(event.task.status)) });

// Handed from one session to the next, as by a host that was restarted.
const long = await first.session.callTool('mogplex_start_agent_run', { ...START, repoId: 'demo/hello' });
const reference = long.serializeReference();
await long.detach();
await first.session.close();
await first.client.close();
const second = await openSession(pickDemo);
const resumed = await second.session.resumeTask(reference);
await resumed.cancel();
const ended = await resumed.result();
await second.session.close();
await second.client.close();
report({ kind: execution.kind, asked, seen, outcome, resumed: ended });

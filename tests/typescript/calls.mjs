// What both generations of the TypeScript client are asked to do, and how they say what they got.

/** The job on standard input: {url, token, mode?}. The token comes this way so that no process list shows it. */
export async function readJob() {
  const chunks = [];
  for await (const chunk of process.stdin) chunks.push(chunk);
  return JSON.parse(Buffer.concat(chunks).toString());
}

/** Options of a transport that sends the bearer. */
export function withBearer(token) {
  return { requestInit: { headers: { Authorization: `Bearer ${token}` } } };
}

/**
 * Lists the tools, then calls each for a success and for an error. A client that has listed the tools checks structured
 * content against their output schemas and rejects what does not fit; 1.x does so with errors too. Such a rejection ends
 * the program.
 */
export async function callEveryTool(client) {
  const { tools } = await client.listTools();
  const call = (name, args) => client.callTool({ name, arguments: args });

  const repos = await call('mogplex_list_repos', {});
  const repoId = repos.structuredContent.repos[0].id;
  const prompt = 'Repair the failing test.';
  const started = await call('mogplex_start_agent_run', { repoId, prompt, createBranch: true });
  const { runId } = started.structuredContent.run;
  const successes = {
    mogplex_list_repos: repos,
    mogplex_list_sandboxes: await call('mogplex_list_sandboxes', {}),
    mogplex_start_agent_run: started,
    mogplex_get_run: await call('mogplex_get_run', { runId }),
    mogplex_get_run_events: await call('mogplex_get_run_events', { runId }),
    mogplex_follow_run: await call('mogplex_follow_run', { runId, timeoutSeconds: 1 }),
    mogplex_list_runs: await call('mogplex_list_runs', {}),
    mogplex_export_run: await call('mogplex_export_run', { runId }),
    mogplex_cancel_run: await call('mogplex_cancel_run', { runId }),
  };

  const unknown = { runId: 'no-such-run' };
  const errors = {
    mogplex_list_repos: await call('mogplex_list_repos', { limit: 'many' }),
    mogplex_list_sandboxes: await call('mogplex_list_sandboxes', { limit: 0 }),
    mogplex_start_agent_run: await call('mogplex_start_agent_run', { repoId: 'no-such-repo', prompt }),
    mogplex_get_run: await call('mogplex_get_run', unknown),
    mogplex_get_run_events: await call('mogplex_get_run_events', unknown),
    mogplex_follow_run: await call('mogplex_follow_run', unknown),
    mogplex_list_runs: await call('mogplex_list_runs', { limit: 0 }),
    mogplex_export_run: await call('mogplex_export_run', { runId: 'no-such-run', format: 'pdf' }),
    mogplex_cancel_run: await call('mogplex_cancel_run', unknown),
  };

  const unknownTool = await call('no_such_tool', {}).then(() => null, (error) => error.code);
  return { tools, successes, errors, unknownTool };
}

/** Says what was found, for the test to judge. */
export function report(result) {
  process.stdout.write(JSON.stringify(result));
}

// openai-node's helper that calls tools until there is an answer, as its documentation shows it.
import OpenAI from 'openai';

const client = new OpenAI();
const asked = [];

async function getWeather({ city }) {
  asked.push(city);
  return `sunny in ${city}`;
}

const runner = client.chat.completions.runTools({
  model: 'gpt-4o',
  messages: [{ role: 'user', content: 'How is the weather? [rehearse: tool]' }],
  tools: [
    {
      type: 'function',
      function: {
        name: 'get_weather',
        description: 'Tell the weather.',
        function: getWeather,
        parse: JSON.parse,
        parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
      },
    },
  ],
});
const answer = await runner.finalContent();

const stream = client.chat.completions.stream({
  model: 'gpt-4o',
  messages: [{ role: 'user', content: 'Hello' }],
  stream: true,
});
let streamed = '';
stream.on('content', (delta) => {
  streamed += delta;
});
const final = await stream.finalChatCompletion();

console.log(JSON.stringify({ answer, asked, streamed, whole: final.choices[0].message.content }));

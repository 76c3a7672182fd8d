# frozen_string_literal: true

# Sidekiq Web shows what Rust does, and its buttons work on it.

require_relative "browser"

web = Browser.new

# The processes of Rust, as Ruby's API knows them.
rust_processes = lambda do
  Sidekiq::ProcessSet.new.select { |process| process.tag == "billing" }
end

# What Rust shows about itself; on Sidekiq Web it is up to 10 s late.
process_that = lambda do |what, &wanted|
  wait_until("the Rust worker to show that it #{what}") { rust_processes.call.find(&wanted) }
end

# Execution metrics as Sidekiq 8 reads them. Debian has no Sidekiq 8.
metrics_of = lambda do |minute, job|
  fields = %w[p f ms].map { |name| "#{job}|#{name}" }
  coarse = minute.strftime("j|%y%m%d|%-H:%M")[0..-2]
  short, medium = [minute.strftime("j|%y%m%d|%-H:%M"), coarse].map { |key| redis { |r| r.hmget(key, *fields) }.map(&:to_i) }
  [short, medium, redis { |r| r.get(minute.strftime("h|#{job}-%-d-%-H:%-M")) }.to_s.unpack("n*")]
end

shown = { "VERK_TAG" => "billing", "VERK_LABELS" => "eu,canary", "VERK_SIDEKIQ_6_WORK" => "true", "VERK_SHUTDOWN_TIMEOUT" => "1000ms" }

check "the page of a Redis where Rust never worked answers" do
  %w[/ /busy /queues /retries /scheduled /morgue /stats].each { |path| web.get(path) }
end

with_rust("default:5,mailers:5", shown) do |rust|
  check "Ruby's ProcessSet lists the Rust worker as its own" do
    started = Time.now
    process = process_that.call("runs") { true }
    assert_equal ["billing", %w[eu canary]], [process.tag, process.labels], "tag and labels"
    assert_equal [10, %w[default mailers]], [process["concurrency"], process.queues], "concurrency and queues"
    assert_equal [0, false], [process["busy"], process.stopping?], "busy, quiet"
    assert_between (started - 60)..(Time.now + 1), Time.at(process["started_at"]), "started_at"
    assert_between (started - 60)..(Time.now + 1), Time.at(process["beat"]), "beat"
    assert process.identity.end_with?(redis { |r| r.smembers("verk_nodes").first }.split(".").last), "nonce of #{process.identity}"
    assert process["rss"] > 1000, "rss is #{process["rss"]} KB"
    assert_equal rust.pid, process["pid"], "pid"
  end

  check "the dashboard counts what Rust ran" do
    before = web.json("/stats")["sidekiq"]
    3.times { |n| rust.wait_for(Mailers::Welcome.perform_async(n.to_s)) }
    now = wait_until("the statistics") do
      web.json("/stats")["sidekiq"].then { |stats| stats if stats["processed"] >= before["processed"] + 3 }
    end
    assert_equal [3, 0, 1], [now["processed"] - before["processed"], now["failed"] - before["failed"], now["processes"]], "numbers"
    assert web.get("/").include?("Dashboard"), "no dashboard"
  end

  check "Busy shows the Rust worker and the job that it runs, and WorkSet reads it" do
    jid = Reports::Build.perform_async(3600)
    rust.wait_for(jid)
    identity, _, work = wait_until("the job in the WorkSet") { Sidekiq::WorkSet.new.find { |_, tid, _| tid == jid } }
    process = process_that.call("is busy") { |found| found["busy"] == 1 }
    queue, payload = work.is_a?(Hash) ? work.values_at("queue", "payload") : [work.queue, work.payload] # since Sidekiq 7
    assert_equal [process.identity, "default"], [identity, queue], "process and queue"
    job = payload.is_a?(String) ? JSON.parse(payload) : payload
    assert_equal ["Reports::Build", [3600], jid], job.values_at("class", "args", "jid"), "payload"
    page = web.get("/busy")
    [jid, "Reports::Build", "3600", "billing", "canary"].each do |text|
      assert page.include?(text), "#{text} is not on the page"
    end
    assert page.match?(/default[,;] mailers/), "the queues are not on the page"
  end

  check "Queues lists a queue that nobody runs; 'delete' takes one job out of it, 'clear' all" do
    jids = (1..3).map { |n| Sidekiq::Client.push("class" => "Reports::Print", "args" => [n], "queue" => "unattended") }
    assert web.get("/queues").include?("unattended"), "not listed"
    assert web.get("/queues/unattended").include?("Reports::Print"), "job not listed"
    queue = Sidekiq::Queue.new("unattended")
    web.press("/queues/unattended", "delete", jids[1])
    assert_equal [jids[2], jids[0]], queue.map(&:jid), "left"
    web.press("/queues", "delete", "/queues/unattended")
    assert_equal 0, queue.size, "left"
  end

  check "Scheduled: 'add to queue' makes Rust run what Rust scheduled, 'delete' does not" do
    jids = [3600, 7200].map { |seconds| Mailers::Welcome.perform_in(seconds, "later") }
    page = web.get("/scheduled")
    assert jids.all? { |jid| page.include?(jid) }, "not listed"
    web.get("/scheduled/#{find(scheduled, jids[0]).score}-#{jids[0]}")
    web.press("/scheduled", "add_to_queue", jids[0])
    web.press("/scheduled", "delete", jids[1])
    rust.wait_for(jids[0])
    assert_equal 0, scheduled.size, "left"
    assert_equal [], rust.runs_of(jids[1]), "runs of what was deleted"
  end

  failed = []

  check "Retries shows what failed in Rust: class, message, tags, backtrace" do
    failed = (1..4).map { |n| Payments::Charge.set(tags: ["vip"]).perform_async(2000 + n, 99) }
    failed.each { |jid| rust.wait_for(jid) }
    wait_until("the retries") { retries.size == failed.size }
    page = web.get("/retries")
    [*failed, "Payments::Charge", "ChargeError", "could not charge 2001 cents", "vip"].each do |text|
      assert page.include?(text), "#{text} is not on the page"
    end
    entry = find(retries, failed[0])
    page = web.get("/retries/#{entry.score}-#{entry.jid}")
    assert page.include?("caused by: the bank is closed"), "no backtrace"
  end

  check "Retries: 'retry now' makes Rust run the job again" do
    web.press("/retries", "retry", failed[0])
    rust.wait_for(failed[0], nth: 2)
    wait_until("the retry") { retries.find_job(failed[0]) }
  end

  check "Retries: 'delete' removes a job, 'kill' moves one to Dead, 'kill all' the rest" do
    web.press("/retries", "delete", failed[1])
    assert_equal nil, retries.find_job(failed[1]), "in Retries"
    web.press("/retries", "kill", failed[2])
    assert find(dead, failed[2]), "not in Dead"
    web.press_all("/retries", "kill")
    assert_equal [0, 3], [retries.size, dead.size], "retries, dead"
  end

  check "Dead shows what died in Rust, 'retry' makes Rust run it again, 'delete' and 'delete all' remove it" do
    jid = Payments::Charge.set(retry: 0).perform_async(2100, 99)
    rust.wait_for(jid)
    entry = wait_until("the death") { dead.find_job(jid) }
    assert web.get("/morgue").include?("could not charge 2100 cents"), "not on the page"
    assert web.get("/morgue/#{entry.score}-#{jid}").include?("ChargeError"), "not on its page"
    web.press("/morgue", "retry", jid)
    rust.wait_for(jid, nth: 2)
    wait_until("the second death") { dead.find_job(jid) }
    web.press("/morgue", "delete", jid)
    assert_equal nil, dead.find_job(jid), "in Dead"
    web.press_all("/morgue", "delete")
    assert_equal 0, dead.size, "left"
  end

  check "a payload that is no job does not break a page" do
    redis { |r| r.lpush("queue:mailers", "{not json") }
    wait_until("the malformed") { dead.size == 1 }
    web.get("/morgue")
    web.press_all("/morgue", "delete")
  end

  check "'Quiet': the Rust worker takes no more jobs, those that run go on, and Busy says so" do
    identity = rust_processes.call.first.identity
    web.press("/busy", "quiet", identity)
    process = process_that.call("is quiet", &:stopping?)
    assert_equal [identity, 1], [process.identity, process["busy"]], "identity, busy"
    waiting = Mailers::Welcome.perform_async("waits")
    sleep 1 # nothing tells that nothing happens
    assert_equal [], rust.runs_of(waiting), "runs"
    assert Sidekiq::Queue.new("mailers").find_job(waiting), "not in its queue"
    assert web.get("/busy").include?(">quiet<"), "the page does not say so"
  end

  check "'Stop': the Rust worker ends, hands its job back, and is gone from Busy" do
    web.press("/busy", "stop", rust_processes.call.first.identity)
    # It is gone by itself, without a signal.
    wait_until_ended(rust)
    assert_equal 0, rust.stop, "exit code"
    assert_equal [], rust_processes.call.map(&:identity), "processes"
    assert_equal 1, Sidekiq::Queue.new("default").size, "handed back"
    assert_equal 0, redis { |r| r.keys("*:work*").size + r.keys("*-signals").size }, "keys"
  end
end
flush

check "Busy shows Ruby's processes and Rust's side by side, and 'Stop all' ends both" do
  with_rust("default:5", shown) do |rust|
    with_sidekiq(%w[mailers]) do |ruby|
      wait_until("both") { Sidekiq::ProcessSet.new.to_a.size == 2 }
      page = web.get("/busy")
      [rust, ruby].each { |program| assert page.include?(":#{program.pid}"), "#{program.name} is not on the page" }
      web.press("/busy", "stop", "quiet")
      [rust, ruby].each { |program| wait_until_ended(program) }
      assert_equal [0, 0], [rust, ruby].map(&:stop), "exit codes"
    end
  end
end

check "execution metrics are where Sidekiq 8 looks for them, if they are wanted" do
  started = Time.now.utc
  with_rust("default:5,mailers:5", shown.merge("VERK_EXECUTION_METRICS" => "true")) do |rust|
    jids = [Reports::Build.perform_async(1), Payments::Charge.perform_async(1, 99), Mailers::Welcome.perform_async("m")]
    jids.each { |jid| rust.wait_for(jid) }
    wait_until_idle
    assert_equal 0, rust.stop, "exit code" # which stores the last of them
  end
  # The minute may have ended meanwhile.
  minute = [started, Time.now.utc].find { |time| metrics_of.call(time, "Reports::Build")[0][0].positive? }
  assert minute, "no metrics"
  short, medium, histogram = metrics_of.call(minute, "Reports::Build")
  assert_equal [[1, 0], short], [short[0, 2], medium], "runs, failures; the same in ten minutes"
  assert_between 1..DEADLINE * 1000, short[2], "milliseconds"
  assert histogram.length <= 26 && histogram.sum == 1, "histogram is #{histogram}"
  minute = [started, Time.now.utc].find { |time| metrics_of.call(time, "Payments::Charge")[0][0].positive? }
  assert_equal [[1, 1, 0], [1, 1, 0], []], metrics_of.call(minute, "Payments::Charge"), "of what failed"
  next if Sidekiq::VERSION.to_i < 8

  require "sidekiq/metrics/query"
  build = Sidekiq::Metrics::Query.new.for_job("Reports::Build", minutes: 60).job_results["Reports::Build"]
  assert_equal [1, 0, short[2]], build.totals.values_at("p", "f", "ms"), "as it reads them"
  assert_equal 1, build.hist.values.flatten.sum, "the histogram as it reads it"
  hours = Sidekiq::Metrics::Query.new.top_jobs(hours: 1).job_results
  assert_equal [1, 1], hours["Payments::Charge"].totals.values_at("p", "f"), "by ten minutes"
  assert web.get("/metrics").include?("Reports::Build"), "not on the page Metrics"
end
flush

check "the signals TTIN and TSTP do in Rust what they do in Ruby" do
  with_rust("default:5", shown) do |rust|
    jid = Reports::Build.perform_async(2)
    rust.wait_for(jid)
    rust.signal("TTIN")
    wait_until("the list of jobs in the log") { rust.log.match?(/running jobs.*count.*1/) && rust.log.match?(/runs .*#{jid}/) }
    rust.signal("TSTP")
    process_that.call("is quiet", &:stopping?)
    wait_until_idle
    waiting = Reports::Build.perform_async(1)
    sleep 0.5 # nothing tells that nothing happens
    assert_equal [], rust.runs_of(waiting), "runs"
    assert_equal 0, rust.stop, "exit code"
  end
end

check "a Rust worker that may not show itself does not" do
  with_rust("default:5", shown.merge("VERK_PROCESS_REGISTRY" => "false")) do |rust|
    rust.wait_for(Reports::Build.perform_async(1))
    wait_until_idle
    assert_equal 0, redis { |r| r.scard("processes") }, "processes"
  end
end

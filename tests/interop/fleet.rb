# frozen_string_literal: true

# Both at once, and what happens when the Rust worker ends in the middle of a job.

check "a job that is running when the Rust worker is told to stop is run by Ruby, not counted as a failure" do
  jid = nil
  with_rust("default:1", "VERK_SHUTDOWN_TIMEOUT" => "100ms") do |rust|
    jid = Reports::Build.perform_async(3600)
    rust.wait_for(jid)
    assert_equal 0, rust.stop, "exit code"
    job = Sidekiq::Queue.new("default").find_job(jid)
    assert job, "not back in its queue"
    assert_equal nil, job["retry_count"], "retry_count"
  end
  with_sidekiq(%w[default]) { |ruby| ruby.wait_for(jid) }
end

check "a job that is running when the Rust worker is killed runs again once a node of that name is back" do
  jid = Reports::Build.perform_async(1)
  env = { "VERK_NODE_ID" => "worker-0", "VERK_HEARTBEAT" => "500ms" }
  with_rust("default:1", env) do |rust|
    rust.wait_for(jid)
    rust.kill
  end
  assert_equal 1, redis { |r| r.keys("inprogress:default:*") }.size, "inprogress lists"
  with_rust("default:1", env) do |rust|
    rust.wait_for(jid)
    wait_until_idle
  end
end

# Waits until both wait for jobs.
both_are_up = lambda do
  ruby = ->(process) { !process["version"].to_s.start_with?("verk") }
  wait_until("both to be up") { Sidekiq::ProcessSet.new.any?(&ruby) && redis { |r| r.scard("verk_nodes").positive? } }
end

check "Ruby and Rust share a queue: of 1000 jobs each runs once, some here and some there" do
  with_rust("mailers:5") do |rust|
    with_sidekiq(%w[mailers]) do |ruby|
      both_are_up.call
      jids = Sidekiq::Client.push_bulk("class" => Mailers::Welcome, "args" => (1..1000).map { |n| [n.to_s] })
      wait_until("every run") { (jids - (rust.runs + ruby.runs).map(&:jid)).empty? }
      wait_until_idle
      assert_equal jids.sort, (rust.runs + ruby.runs).map(&:jid).sort, "what was run"
      assert [rust, ruby].none? { |program| program.runs.empty? }, "one side ran nothing"
    end
  end
end

check "schedules of both sides fall due while both are polling: each job runs once" do
  with_rust("default:5,mailers:5") do |rust|
    with_sidekiq(%w[mailers default]) do |ruby|
      both_are_up.call
      jids = (1..20).map { |n| Mailers::Welcome.perform_in(0.1 * n, n.to_s) }
      wait_until("every run") { (jids - (rust.runs + ruby.runs).map(&:jid)).empty? }
      wait_until_idle
      assert_equal jids.sort, (rust.runs + ruby.runs).map(&:jid).sort, "what was run"
    end
  end
end

check "what Rust ran is in Ruby's statistics: every run, the failed ones apart, in all and by day" do
  figures = lambda do
    history = Sidekiq::Stats::History.new(2) # the day may end meanwhile
    stats = Sidekiq::Stats.new
    [stats.processed, stats.failed, history.processed.values.sum, history.failed.values.sum]
  end
  before = figures.call
  with_rust("default:5,mailers:5") do |rust|
    jids = (1..3).map { |n| Mailers::Welcome.perform_async(n.to_s) }
    jids << Payments::Charge.perform_async(1500, 2) # fails
    jids.each { |jid| rust.wait_for(jid) }
    wait_until_idle
    assert_equal 0, rust.stop, "exit code"
  end
  counted = figures.call.zip(before).map { |now, then_| now - then_ }
  assert_equal [4, 1, 4, 1], counted, "processed, failed, and both by day"
end
